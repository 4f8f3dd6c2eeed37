import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Given, Then, When } from '@cucumber/cucumber';
import type { GlobalWorker, HiveStatus } from '@rbee/protocol';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

Given('a hive of version {string} on the machine', async function (this: RbeeWorld, version: string) {
  await startPlainHives(this, { version }, [this.machine.hivePort]);
});

Given('a hive on the machine that answers everything with:', async function (this: RbeeWorld, text: string) {
  await startPlainHives(this, { text }, [this.machine.hivePort]);
});

Given('somebody runs a hive that I may use with a key', async function (this: RbeeWorld) {
  await startPlainHives(this, {}, [this.ports.remoteHive]);
  this.notes.set('hive URL', `http://127.0.0.1:${this.ports.remoteHive}`);
  writeFileSync(join(this.home, 'shared.token'), 'a-key-that-the-hive-knows-0123456789\n', { mode: 0o600 });
});

When('that hive ends', async function (this: RbeeWorld) {
  const hives = this.notes.get('plain hives') as Program;
  hives.kill('SIGTERM');
  await hives.waitForExit();
});

When('that hive stands still', function (this: RbeeWorld) {
  const hives = this.notes.get('plain hives') as Program;
  hives.kill('SIGSTOP');
  this.onClose(async () => hives.kill('SIGCONT'));
});

Given('{int} nodes, each with a hive that has a worker', async function (this: RbeeWorld, count: number) {
  const machine = await this.startMachine();
  const ports = [
    ...(await startPlainHives(
      this,
      {},
      Array.from({ length: count - 1 }, () => 0),
    )),
    ...(await startPlainHives(this, {}, [0])),
  ];
  const names = ports.map((_port, index) => `node-${String(index + 1).padStart(2, '0')}`);
  this.notes.set('nodes', names).set('last node', names.at(-1));
  await Promise.all(
    ports.map(async (port, index) => {
      const response = await fetch(`${this.queenUrl}/v2/registry/beehives/add`, {
        method: 'POST',
        body: JSON.stringify({
          node_name: names[index],
          ssh_host: machine.host,
          ssh_port: machine.port,
          ssh_user: machine.user,
          ssh_key_path: join(this.home, '.ssh/id_ed25519'),
          hive_port: port,
        }),
      });
      assert.equal(response.status, 200, await response.text());
    }),
  );
});

When("the last node's hive stands still", function (this: RbeeWorld) {
  (this.notes.get('plain hives') as Program).kill('SIGSTOP');
  this.onClose(async () => (this.notes.get('plain hives') as Program).kill('SIGCONT'));
});

When("the last node's hive moves again", function (this: RbeeWorld) {
  (this.notes.get('plain hives') as Program).kill('SIGCONT');
});

Then('the queen lists a worker of every node within {int} s', async function (this: RbeeWorld, seconds: number) {
  const names = this.notes.get('nodes') as string[];
  let seen: string[] = [];
  await waitUntil(
    async () => {
      seen = (await listWorkers(this)).map(({ node }) => node).sort();
      return seen.join() === names.join();
    },
    () => `the queen lists workers of ${seen.join(', ')}`,
    seconds * 1000,
  );
});

Then(
  'every list of workers comes within {int} ms, for {int} s',
  async function (this: RbeeWorld, ms: number, s: number) {
    const end = performance.now() + s * 1000;
    while (performance.now() < end) {
      const start = performance.now();
      await listWorkers(this);
      const took = performance.now() - start;
      assert(took < ms, `a list took ${took} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
);

Then('the queen sees all nodes but the last as reachable', async function (this: RbeeWorld) {
  const names = (this.notes.get('nodes') as string[]).slice(0, -1);
  const response = await fetch(`${this.queenUrl}/v2/hives/list`);
  const { hives } = (await response.json()) as { hives: HiveStatus[] };
  const running = hives.filter(({ status, hive }) => status === 'reachable' && hive === 'running');
  const missing = names.filter((name) => !running.some(({ node }) => node === name));
  assert.deepEqual(missing, [], JSON.stringify(hives, null, 1));
});

async function listWorkers(world: RbeeWorld): Promise<GlobalWorker[]> {
  const response = await fetch(`${world.queenUrl}/v2/workers/list`);
  return ((await response.json()) as { workers: GlobalWorker[] }).workers;
}

async function startPlainHives(world: RbeeWorld, behaviour: object, ports: readonly number[]): Promise<number[]> {
  const program = world.startScript(
    ['--import', import.meta.resolve('tsx'), join(PROJECT, 'features/scripted/plain-hives.ts')],
    [JSON.stringify(behaviour), ...ports.map(String)],
  );
  world.notes.set('plain hives', program);
  const [, text = ''] = await program.waitFor('stdout', /^ports: (.*)$/m);
  return text.split(' ').map(Number);
}
