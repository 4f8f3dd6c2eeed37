import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Given, Then } from '@cucumber/cucumber';
import { assertHas } from '../support/expect.js';
import { readRegistry } from '../support/registry-file.js';
import type { RbeeWorld } from '../support/world.js';

Given('a machine that accepts connections and says nothing', async function (this: RbeeWorld) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  this.onClose(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  this.notes.set('silent port', (server.address() as AddressInfo).port);
});

Given('an ssh_config that says:', function (this: RbeeWorld, text: string) {
  const folder = join(this.home, '.ssh');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'config'), `${this.fill(text)}\n`, { mode: 0o600 });
});

Then("the registry's row of {string} has:", function (this: RbeeWorld, name: string, expected: string) {
  const row = readRegistry(this.home).get(name);
  assert(row, `${name} is not registered`);
  assertHas(row, JSON.parse(this.fill(expected)), `row of ${name}`);
});

Then('the last contact with {string} was just now', function (this: RbeeWorld, name: string) {
  const seconds = Date.now() / 1000 - Number(readRegistry(this.home).get(name)?.last_connected_unix);
  assert(seconds > -2 && seconds < 60, `${seconds} s ago`);
});

Then('the registered nodes are {string}', function (this: RbeeWorld, list: string) {
  assert.deepEqual([...readRegistry(this.home).keys()].sort(), list.split(', '));
});

Then('no node is registered', function (this: RbeeWorld) {
  assert.deepEqual([...readRegistry(this.home).keys()], []);
});

Then('no queen was ever started', function (this: RbeeWorld) {
  assert(!existsSync(join(this.home, '.rbee/logs')), 'a queen has made its log folder');
});

Then('stdout shows the block of {string}:', function (this: RbeeWorld, node: string, text: string) {
  const block = this.last.text.stdout.split(/\n\n/).find((part) => part.startsWith(`${node} (`));
  assert(block, this.last.report());
  for (const line of this.fill(text).split('\n')) assert.match(block, new RegExp(line, 'm'), this.last.report());
});
