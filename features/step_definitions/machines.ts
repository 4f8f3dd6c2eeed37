import assert from 'node:assert/strict';
import { Given, Then, When } from '@cucumber/cucumber';
import type { HiveStatus } from '@rbee/protocol';
import { findProcessesOf } from '../support/leaks.js';
import { listListeners } from '../support/network.js';
import { scriptedLauncher } from '../support/scripted-launcher.js';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

Given('a machine over SSH', async function (this: RbeeWorld) {
  await this.startMachine();
});

Given('a machine over SSH with rbee on it', startMachineWithRbee);

Given('a node {string} over SSH', async function (this: RbeeWorld, name: string) {
  await startMachineWithRbee.call(this);
  await register(this, name);
});

Given(
  'a node {string} over SSH whose workers follow this script:',
  async function (this: RbeeWorld, name: string, script: string) {
    const machine = await this.startMachine();
    machine.writeLauncher(scriptedLauncher(JSON.stringify(JSON.parse(script))));
    await register(this, name);
  },
);

Given('the machine is registered as {string}', async function (this: RbeeWorld, name: string) {
  await register(this, name);
});

// For what no server can be there for, such as the port that only one program of a machine may have.
Given('SSH connections are simulated', function (this: RbeeWorld) {
  this.variables.MOCK_SSH = '1';
});

Given('an operator runs a hive on the machine', async function (this: RbeeWorld) {
  const variables = { ...this.machine.variables, RBEE_HIVE_PORT: String(this.machine.hivePort) };
  const hive = this.start('rbee-hive', ['daemon'], { variables });
  await this.waitForHealth(hive, `${this.hiveUrl}/v1/health`);
  this.notes.set('hive', hive);
});

Given('the machine refuses to forward connections', async function (this: RbeeWorld) {
  await this.machine.restartServer(['AllowTcpForwarding no']);
});

Given('the machine no longer knows my key', function (this: RbeeWorld) {
  this.machine.forgetKeys();
});

When('the machine gets another host key', async function (this: RbeeWorld) {
  this.notes.set('old fingerprint', this.machine.fingerprint);
  await this.machine.changeHostKey();
});

When("the machine's SSH server is stopped", async function (this: RbeeWorld) {
  await this.machine.stopServer();
});

When("the machine's SSH server runs again", async function (this: RbeeWorld) {
  await this.machine.startServer();
});

When('the connection to the machine is cut', function (this: RbeeWorld) {
  this.notes.set('cut at', performance.now());
  this.machine.dropConnections();
});

When("the machine's SSH server stands still", function (this: RbeeWorld) {
  this.notes.set('cut at', performance.now());
  this.machine.freeze();
});

When("the machine's SSH server moves again", function (this: RbeeWorld) {
  this.machine.thaw();
});

Then('the machine was asked to run a command', async function (this: RbeeWorld) {
  await waitUntil(
    () => /Starting session: command/.test(this.machine.log),
    () => this.machine.log,
    2_000,
  );
});

Then('it ended within {int} s of the cut', async function (this: RbeeWorld, seconds: number) {
  await this.last.waitForExit();
  const ms = this.last.startedAt + (this.last.durationMs as number) - (this.notes.get('cut at') as number);
  assert(ms < seconds * 1000, `it took ${ms} ms\n${this.last.report()}`);
});

Then('hive and worker of the machine listen on the loopback address only', async function (this: RbeeWorld) {
  const { hivePort, workerPort } = this.machine;
  const listeners = listListeners(this.network?.through('node'));
  for (const port of [hivePort, workerPort]) {
    const addresses = listeners.filter((address) => address.endsWith(`:${port}`));
    assert.deepEqual(addresses, [`127.0.0.1:${port}`], listeners.join('\n'));
  }
});

Then('a hive and a worker run on the machine', async function (this: RbeeWorld) {
  await waitUntil(
    () => runs(this, 'rbee-hive.js') && runs(this, '--worker-id'),
    () => `on the machine run ${JSON.stringify(findProcessesOf(this.machine.home), null, 1)}`,
  );
});

Then('a hive runs on the machine', function (this: RbeeWorld) {
  assert(runs(this, 'rbee-hive.js'), JSON.stringify(findProcessesOf(this.machine.home), null, 1));
});

Then('nothing runs on the machine after at most {int} s', async function (this: RbeeWorld, seconds: number) {
  let left = findProcessesOf(this.machine.home);
  await waitUntil(
    () => {
      left = findProcessesOf(this.machine.home);
      return left.length === 0;
    },
    () => `on the machine run ${JSON.stringify(left, null, 1)}`,
    seconds * 1000,
  );
});

Then(
  'the queen sees {string} as {word} within {int} s',
  async function (this: RbeeWorld, node: string, status: string, seconds: number) {
    await waitForHive(this, this.fill(node), (hive) => hive.status === status, seconds);
  },
);

Then(
  'the queen sees the hive of {string} as {word} within {int} s',
  async function (this: RbeeWorld, node: string, state: string, seconds: number) {
    await waitForHive(this, this.fill(node), ({ hive }) => hive === state, seconds);
  },
);

async function startMachineWithRbee(this: RbeeWorld): Promise<void> {
  const machine = await this.startMachine();
  machine.linkProject(PROJECT);
}

async function register(world: RbeeWorld, name: string): Promise<void> {
  const line = `rbee-keeper setup add-node --name ${name} <its address> --hive-port <its hive port>`;
  const program = world.startCommand(line);
  assert.equal(await program.waitForExit(), 0, program.report());
}

function runs(world: RbeeWorld, name: string): boolean {
  return findProcessesOf(world.machine.home).some(({ command }) => command.includes(name));
}

async function waitForHive(
  world: RbeeWorld,
  node: string,
  accept: (hive: HiveStatus) => boolean,
  seconds: number,
): Promise<void> {
  let answer: unknown;
  await waitUntil(
    async () => {
      answer = await (await fetch(`${world.queenUrl}/v2/hives/list?node=${node}`)).json();
      const [hive] = (answer as { hives?: HiveStatus[] }).hives ?? [];
      return hive !== undefined && accept(hive);
    },
    () => `the queen says ${JSON.stringify(answer)}`,
    seconds * 1000,
  );
}
