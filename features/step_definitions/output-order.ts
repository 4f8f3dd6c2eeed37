import assert from 'node:assert/strict';
import { type DataTable, Then } from '@cucumber/cucumber';
import type { RbeeWorld } from '../support/world.js';

Then(/^(stdout|stderr) tells in order:$/, function (this: RbeeWorld, output: 'stdout' | 'stderr', table: DataTable) {
  const texts = table.raw().map(([text = '']) => this.fill(text));
  assertOrder(
    this,
    output,
    texts.map((text) => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))),
  );
});

Then('the terminal shows in order:', function (this: RbeeWorld, table: DataTable) {
  assertOrder(
    this,
    'stdout',
    table.raw().map(([pattern = '']) => new RegExp(pattern)),
  );
});

Then('it took at least {int} s', function (this: RbeeWorld, seconds: number) {
  assert((this.last.durationMs ?? 0) >= seconds * 1000, `it took ${this.last.durationMs} ms\n${this.last.report()}`);
});

/** Each pattern is looked for behind the end of what the one before it matched. */
function assertOrder(world: RbeeWorld, output: 'stdout' | 'stderr', patterns: readonly RegExp[]): void {
  const text = world.last.text[output];
  let end = 0;
  for (const [index, pattern] of patterns.entries()) {
    const found = pattern.exec(text.slice(end));
    const before = index === 0 ? '' : ` behind ${patterns[index - 1]}`;
    assert(found, `${output} does not show ${pattern}${before}\n${world.last.report()}`);
    end += found.index + found[0].length;
  }
}
