import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Then } from '@cucumber/cucumber';
import type { GlobalWorker, Worker } from '@rbee/protocol';
import type { OpenStream } from '../support/event-stream.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

interface Spoken {
  readonly type: string;
  readonly emitted_by?: string;
  readonly correlation_id?: string;
}

Then('the queen lists the worker of the hive as {string}', async function (this: RbeeWorld, state: string) {
  const { workers } = (await (await this.askHive('/v1/workers/list')).json()) as { workers: Worker[] };
  assert.equal(workers.length, 1);
  let seen: GlobalWorker[] = [];
  await waitUntil(
    async () => {
      seen = ((await (await fetch(`${this.queenUrl}/v2/workers/list`)).json()) as { workers: GlobalWorker[] }).workers;
      return seen.length === 1 && seen[0]?.worker_id === workers[0]?.worker_id && seen[0]?.state === state;
    },
    () => `the queen lists ${JSON.stringify(seen)}`,
  );
});

Then('the stream is narrated by {string} under one correlation id', function (this: RbeeWorld, names: string) {
  const narrations = opened(this).events.filter(({ type }) => type === 'narration') as unknown as Spoken[];
  const services = new Set(narrations.map(({ emitted_by = '' }) => emitted_by.replace(/@.*$/, '')));
  for (const name of names.split(', ')) assert(services.has(name), `${name} says nothing: ${[...services].join()}`);
  const ids = new Set(narrations.map(({ correlation_id }) => correlation_id));
  assert.equal(ids.size, 1, [...ids].join());
  this.notes.set('correlation id', [...ids][0]);
});

Then('the logs of queen, hive and worker have that correlation id', async function (this: RbeeWorld) {
  await assertLogged(this, String(this.notes.get('correlation id')), /^(queen-rbee|rbee-hive|worker-.*)\.log$/, 3);
});

Then("the worker's log has the correlation id of the answer", async function (this: RbeeWorld) {
  const { correlationId } = this.notes.get('answer') as { correlationId: string };
  await assertLogged(this, correlationId, /^worker-.*\.log$/, 1);
});

Then('the error is the one that the worker gives for:', async function (this: RbeeWorld, body: string) {
  const response = await fetch(`${this.notes.get('worker url')}/v1/inference`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${this.notes.get('worker key')}`, 'Content-Type': 'application/json' },
    body,
  });
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  const { body: passed, status } = this.notes.get('answer') as {
    status: number;
    body: { error: Record<string, unknown> };
  };
  assert.equal(status, response.status);
  const { correlation_id: _own, ...given } = error;
  const { correlation_id: _other, ...got } = passed.error;
  assert.deepEqual(got, given);
});

Then('the stream took less than {int} s', function (this: RbeeWorld, seconds: number) {
  const { times } = opened(this);
  assert((times.at(-1) ?? 0) - (times[0] ?? 0) < seconds * 1000);
});

Then('the open stream goes on with tokens', async function (this: RbeeWorld) {
  const before = opened(this).events.length;
  await opened(this).waitFor(
    (event) => event.type === 'token' && opened(this).events.indexOf(event) >= before,
    'a further token',
  );
});

function opened(world: RbeeWorld): OpenStream {
  return world.notes.get('stream') as OpenStream;
}

async function assertLogged(world: RbeeWorld, id: string, name: RegExp, atLeast: number): Promise<void> {
  const folder = join(world.home, '.rbee/logs');
  const having = () =>
    (existsSync(folder) ? readdirSync(folder) : [])
      .filter((file) => name.test(file))
      .filter((file) => readFileSync(join(folder, file), 'utf8').includes(id));
  await waitUntil(
    () => having().length >= atLeast,
    () => `${id} stands only in ${having().join() || 'no log'}`,
    5_000,
  );
}
