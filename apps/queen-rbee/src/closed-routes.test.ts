import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { Secret } from '@rbee/daemon-kit';
import { scanRoutes } from '@rbee/daemon-kit/testing';
import { queenRoutes } from '@rbee/protocol';
import { TestQueen } from './testing/test-queen.js';

const KEY = new Secret('the-key-of-this-queen');
const folders: string[] = [];
let queen: TestQueen | undefined;
afterEach(async () => {
  await queen?.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A port on which nothing listens, so that no hive is found. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function writeKey(): string {
  const folder = mkdtempSync(join(tmpdir(), 'queen-key-'));
  folders.push(folder);
  const file = join(folder, 'api.token');
  writeFileSync(file, `${KEY.reveal()}\n`, { mode: 0o600 });
  return file;
}

it('every route refuses who has no key before it reads anything, and no path outside the table answers', async () => {
  const hivePort = await freePort();
  queen = await TestQueen.start({ hivePort, keyFile: writeKey() });
  const { url } = queen;
  const state = async () => {
    const headers = { Authorization: `Bearer ${KEY.reveal()}` };
    const paths = ['/v2/tasks', '/v2/workers/list', '/v2/registry/beehives/list'];
    return Promise.all(paths.map(async (path) => (await fetch(`${url}${path}`, { headers })).json()));
  };
  const before = await state();
  const { findings, requests } = await scanRoutes({
    url,
    routes: queenRoutes,
    key: KEY,
    foreignKey: new Secret('the key of the hive'),
    strangePaths: ['/metrics', '/v1/events', '/v1/workers/ready/more', '/v1/inference', '/v1/models/scan'],
  });
  expect(findings).toEqual([]);
  expect(requests).toBeGreaterThan(3000);
  expect(await state()).toEqual(before);
});
