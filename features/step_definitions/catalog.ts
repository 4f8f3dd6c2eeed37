import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { Then } from '@cucumber/cucumber';
import type { Model } from '@rbee/protocol';
import type { OpenStream } from '../support/event-stream.js';
import { assertHas } from '../support/expect.js';
import type { RbeeWorld } from '../support/world.js';

Then(
  "the catalog's row of {string} has an id, a file of its size, and the time of just now",
  async function (this: RbeeWorld, ref: string) {
    const { id, local_path, size_bytes, downloaded_at_unix } = await findRow(this, ref);
    assert.match(id, /^\w[\w.-]*$/);
    assert.equal(statSync(local_path).size, size_bytes);
    const seconds = Date.now() / 1000 - downloaded_at_unix;
    assert(seconds > -2 && seconds < 60, `${seconds} s ago`);
  },
);

Then(
  'the answer is {string} with the path of the row of {string}',
  async function (this: RbeeWorld, id: string, ref: string) {
    const { body } = this.notes.get('answer') as { body: unknown };
    assertHas(body, { download_id: id, local_path: (await findRow(this, ref)).local_path }, 'answer');
  },
);

Then('the last speed that it has shown is more than {int} MB a second', function (this: RbeeWorld, least: number) {
  const events = (this.notes.get('download stream') as OpenStream).events;
  const speed = Number(events.filter(({ stage }) => stage === 'downloading').at(-1)?.speed_mbps);
  assert(speed > least, `${speed} MB a second`);
});

Then('the partial file that stderr names holds what stdout has, for me alone', function (this: RbeeWorld) {
  const { stdout, stderr } = this.last.text;
  const path = /\S+rbee-partial-[\w-]+\.txt/.exec(stderr)?.[0];
  assert(path, this.last.report());
  assert.equal(readFileSync(path, 'utf8').trimEnd(), stdout.trimEnd());
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

async function findRow(world: RbeeWorld, ref: string): Promise<Model> {
  const { models } = (await (await world.askHive('/v1/models/list')).json()) as { models: Model[] };
  const row = models.find(({ model_ref }) => model_ref === ref);
  assert(row, `${ref} is not in the catalog: ${models.map(({ model_ref }) => model_ref).join(', ')}`);
  return row;
}
