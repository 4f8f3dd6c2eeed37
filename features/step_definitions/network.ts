import assert from 'node:assert/strict';
import { Before, Given, Then, When } from '@cucumber/cucumber';
import { listListeners, Network } from '../support/network.js';
import { scriptedLauncher } from '../support/scripted-launcher.js';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

let isReasonTold = false;

Before({ tags: '@two-hosts' }, function (this: RbeeWorld) {
  const laid = Network.lay();
  if (laid instanceof Network) {
    this.network = laid;
    return undefined;
  }
  if (!isReasonTold)
    process.stderr.write(`Scenarios with two hosts are skipped: no network namespaces here (${laid}).\n`);
  isReasonTold = true;
  return 'skipped';
});

Given('two machines that a cable joins', async function (this: RbeeWorld) {
  (await this.startMachine()).linkProject(PROJECT);
});

Given(
  'two machines that a cable joins, and workers that follow this script:',
  async function (this: RbeeWorld, script: string) {
    (await this.startMachine()).writeLauncher(scriptedLauncher(script));
  },
);

Given('a queen runs beside me', async function (this: RbeeWorld) {
  const queen = this.start('queen-rbee', ['daemon']);
  await queen.waitFor('stdout', /listening on/);
  this.notes.set('queen', queen);
});

When('the cable is pulled', function (this: RbeeWorld) {
  this.notes.set('cut at', performance.now());
  network(this).setCable('down');
});

When('the cable is plugged in again', function (this: RbeeWorld) {
  network(this).setCable('up');
});

When("the machine's answers get lost", function (this: RbeeWorld) {
  this.notes.set('cut at', performance.now());
  network(this).setBlackHole('on');
});

When("the machine's answers come again", function (this: RbeeWorld) {
  network(this).setBlackHole('off');
});

Then('the keeper comes to see {string} as {string}', async function (this: RbeeWorld, node: string, state: string) {
  await waitUntil(
    async () => {
      await this.startCommand(`rbee-keeper hive status --node ${node}`).waitForExit();
      return this.last.text.stdout.includes(state);
    },
    () => `the keeper sees\n${this.last.report()}`,
  );
});

Then("the machine's SSH port is its only one that the network reaches", function (this: RbeeWorld) {
  const open = listListeners(network(this).through('node')).filter((address) => !/^(127\.|\[::1\])/.test(address));
  assert.deepEqual(open, [`${this.machine.host}:${this.machine.port}`]);
});

function network(world: RbeeWorld): Network {
  assert(world.network, 'the scenario has no network of its own');
  return world.network;
}
