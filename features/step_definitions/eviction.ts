import assert from 'node:assert/strict';
import { Given, Then, When } from '@cucumber/cucumber';
import type { Worker } from '@rbee/protocol';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Given('a machine with {int} MB of memory for workers', function (this: RbeeWorld, megabytes: number) {
  this.presentMachine({
    backends: [{ name: 'cpu', devices: 1 }],
    gpus: [],
    ram_total_mb: 64_000,
    ram_available_mb: megabytes,
    // What workers hold is subtracted from it.
    without_workers: true,
  });
});

Then('it has started the worker {string}', async function (this: RbeeWorld, name: string) {
  assert.equal(await this.last.waitForExit(), 0, this.last.report());
  const [, id] = /(worker-[0-9a-f-]{36})"? ?(?:is ready|,)/.exec(this.last.text.stdout) ?? [];
  assert(id, this.last.report());
  this.notes.set(name, id);
});

Then(/^(stdout|stderr) matches \/(.+)\/$/, function (this: RbeeWorld, output: 'stdout' | 'stderr', pattern: string) {
  assert.match(this.last.text[output], new RegExp(this.fill(pattern)), this.last.report());
});

Then('the workers of the hive are {string}', async function (this: RbeeWorld, names: string) {
  const wanted = names.split(', ').map((name) => String(this.notes.get(name)));
  let ids: string[] = [];
  await waitUntil(
    async () => {
      ids = (await listWorkers(this)).map(({ id }) => id);
      return [...ids].sort().join() === [...wanted].sort().join();
    },
    () => `the workers are ${ids.join(', ')}, not ${wanted.join(', ')}`,
  );
});

Then('the only worker of the hive is {string}', async function (this: RbeeWorld, name: string) {
  const [worker, ...others] = await listWorkers(this);
  assert(worker && others.length === 0, JSON.stringify([worker, ...others]));
  this.notes.set(name, worker.id);
});

Then('the process of {string} is gone', async function (this: RbeeWorld, name: string) {
  const id = String(this.notes.get(name));
  await waitUntil(
    () => !this.findProcesses().some(({ command }) => command.includes(id)),
    () => `the process of ${id} still runs`,
    5_000,
  );
});

Then('it says {string}', async function (this: RbeeWorld, text: string) {
  await this.last.waitFor('stderr', new RegExp(text));
});

Then('a worker runs whose id is not that of {string}', async function (this: RbeeWorld, name: string) {
  const id = String(this.notes.get(name));
  await waitUntil(
    async () => (await listWorkers(this)).some((worker) => worker.id !== id && worker.state === 'idle'),
    () => 'no other worker came',
  );
});

When('the workers go on when it has written to stdout', async function (this: RbeeWorld) {
  await this.last.waitFor('stdout', /three/);
  for (const { pid, command } of this.findProcesses()) {
    if (command.includes('--worker-id')) process.kill(pid, 'SIGUSR2');
  }
});

async function listWorkers(world: RbeeWorld): Promise<Worker[]> {
  return ((await (await world.askHive('/v1/workers/list')).json()) as { workers: Worker[] }).workers;
}
