import assert from 'node:assert/strict';
import { Then } from '@cucumber/cucumber';
import { assertHas } from '../support/expect.js';
import type { RbeeWorld } from '../support/world.js';

Then('stdout as JSON has:', function (this: RbeeWorld, expected: string) {
  const { stdout } = this.last.text;
  assertHas(JSON.parse(stdout), JSON.parse(this.fill(expected)), 'stdout');
});

Then("the answer's error has:", function (this: RbeeWorld, expected: string) {
  const { body } = this.notes.get('answer') as { body: { error?: unknown } };
  assert(body.error, JSON.stringify(body));
  assertHas(body.error, JSON.parse(this.fill(expected)), 'error');
});
