import { After, Before, Status, setDefaultTimeout } from '@cucumber/cucumber';
import type { RbeeWorld } from './world.js';

setDefaultTimeout(60_000);

Before(async function (this: RbeeWorld) {
  await this.open();
});

After(async function (this: RbeeWorld, { pickle, result }) {
  let isClosed = false;
  try {
    await this.close(`${pickle.uri}: ${pickle.name}`);
    isClosed = true;
  } finally {
    if (!isClosed || result?.status === Status.FAILED) for (const program of this.programs) this.log(program.report());
  }
});
