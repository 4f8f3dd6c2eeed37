import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Given, Then, When } from '@cucumber/cucumber';
import { findProcessesOf, isPortFree, parentOf } from '../support/leaks.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

Given('the time limit {word} is {int}ms', function (this: RbeeWorld, name: string, ms: number) {
  this.variables[`RBEE_T_${name.toUpperCase()}`] = `${ms}ms`;
});

Given('a queen runs', async function (this: RbeeWorld) {
  this.notes.set('queen', await this.startDaemon('queen-rbee'));
});

Given('a hive runs', async function (this: RbeeWorld) {
  this.notes.set('hive', await this.startDaemon('rbee-hive'));
});

Given('a queen and a hive run', async function (this: RbeeWorld) {
  const [queen, hive] = await Promise.all([this.startDaemon('queen-rbee'), this.startDaemon('rbee-hive')]);
  this.notes.set('queen', queen).set('hive', hive);
});

Given('a hive runs whose workers follow this script:', async function (this: RbeeWorld, script: string) {
  const program = this.startScript(
    ['--import', import.meta.resolve('tsx'), join(PROJECT, 'features/scripted/scripted-hive.ts')],
    [JSON.stringify(JSON.parse(script))],
  );
  await this.waitForHealth(program, `${this.hiveUrl}/v1/health`);
  this.notes.set('hive', program);
});

Given("another program answers on the queen's port", async function (this: RbeeWorld) {
  const server = createServer((_request, response) => response.end('I am a printer'));
  await new Promise<void>((resolve) => server.listen(this.ports.queen, '127.0.0.1', resolve));
  this.onClose(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
});

When('the queen gets {word}', async function (this: RbeeWorld, signal: NodeJS.Signals) {
  const queen = daemon(this, 'queen');
  queen.kill(signal);
  await queen.waitForExit(45_000);
});

When('the hive is restarted', async function (this: RbeeWorld) {
  const hive = daemon(this, 'hive');
  hive.kill('SIGTERM');
  assert.equal(await hive.waitForExit(), 0);
  this.notes.set('hive', await this.startDaemon('rbee-hive'));
});

When('the hive gets SIGTERM', function (this: RbeeWorld) {
  daemon(this, 'hive').kill('SIGTERM');
});

Then('the hive ends with the exit code {int}', async function (this: RbeeWorld, code: number) {
  assert.equal(await daemon(this, 'hive').waitForExit(), code);
});

Then('its log shows {string}', function (this: RbeeWorld, text: string) {
  assert.match(daemon(this, 'hive').text.stderr, new RegExp(text));
});

Then('no force-kill was logged', function (this: RbeeWorld) {
  assert.doesNotMatch(daemon(this, 'hive').text.stderr, /force_kill|SIGKILL/);
});

Then('the catalog file exists', function (this: RbeeWorld) {
  assert(existsSync(join(this.home, '.rbee/models.db')));
});

Then('the {word} still runs', async function (this: RbeeWorld, name: string) {
  assert(daemon(this, name).running, `the ${name} has ended`);
  const url = name === 'queen' ? `${this.queenUrl}/health` : `${this.hiveUrl}/v1/health`;
  assert.equal((await fetch(url)).status, 200);
});

Then('no {word} is running', async function (this: RbeeWorld, name: string) {
  assert(await isPortFree(name === 'queen' ? this.ports.queen : this.hivePort), `a ${name} holds its port`);
});

Then('no process is left', async function (this: RbeeWorld) {
  let left = this.findProcesses();
  // The last process to end may be seen for a moment after the one that waited for it.
  await waitUntil(
    () => {
      left = this.findProcesses();
      return left.length === 0;
    },
    () => `processes are left: ${JSON.stringify(left)}`,
    5_000,
  );
});

Then('no further daemon was started', function (this: RbeeWorld) {
  const running = this.findProcesses().map(({ command }) => command);
  assert.equal(running.filter((command) => command.includes('queen-rbee.js')).length, 1, running.join('\n'));
  assert.equal(running.filter((command) => command.includes('rbee-hive.js')).length, 1, running.join('\n'));
});

Then('the keeper starts a queen, the queen a hive and the hive a worker', async function (this: RbeeWorld) {
  const keeper = this.last;
  const chain = await waitUntil(
    () => {
      const processes = findProcessesOf(this.home);
      const pidOf = (name: string) => processes.find(({ command }) => command.includes(name))?.pid;
      const queen = pidOf('queen-rbee.js');
      const hive = pidOf('rbee-hive.js');
      const worker = pidOf('llm-worker-rbee.js');
      if (!queen || !hive || !worker) return undefined;
      return [parentOf(queen), parentOf(hive), parentOf(worker), queen, hive];
    },
    () => `the chain of processes never stood\n${keeper.report()}`,
  );
  const [queenParent, hiveParent, workerParent, queen, hive] = chain;
  assert.deepEqual([queenParent, hiveParent, workerParent], [keeper.child.pid, queen, hive]);
});

function daemon(world: RbeeWorld, name: string): Program {
  const program = world.notes.get(name);
  assert(program, `the scenario has started no ${name}`);
  return program as Program;
}
