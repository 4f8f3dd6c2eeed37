import assert from 'node:assert/strict';
import { createServer, request as openRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Given, Then } from '@cucumber/cucumber';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Given('what I ask the queen is noted on its way', async function (this: RbeeWorld) {
  const calls: string[] = [];
  const server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`);
    const { method, url: path, headers } = request;
    const onward = openRequest({ host: '127.0.0.1', port: this.ports.queen, method, path, headers });
    // Whichever side leaves first, the other one sees it.
    onward
      .once('error', () => response.destroy())
      .once('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers).flushHeaders();
        pipeline(answer, response).catch(() => undefined);
      });
    response.once('close', () => onward.destroy());
    pipeline(request, onward).catch(() => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  this.onClose(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  this.notes.set('queen calls', calls);
  this.variables.RBEE_QUEEN_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

Then(/^the queen was asked for (\w+) (\S+)$/, async function (this: RbeeWorld, method: string, path: string) {
  const calls = this.notes.get('queen calls') as string[];
  const [before = '', after = ''] = path.split('*');
  const isWanted = (call: string) => call.startsWith(`${method} ${before}`) && call.endsWith(after);
  await waitUntil(
    () => calls.some(isWanted),
    () => `the queen was asked for ${calls.join(', ')}`,
    2_000,
  );
});

Then(/^GET (\S+) of the queen answers exactly (.+)$/, async function (this: RbeeWorld, path: string, body: string) {
  const response = await fetch(this.queenUrl + path);
  assert.equal(response.status, 200);
  assert.equal(await response.text(), body);
});
