import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from '@jest/globals';
import { readPrivateBytes } from './private-memory.js';

const root = mkdtempSync(join(tmpdir(), 'rbee-proc-'));
afterAll(() => rmSync(root, { recursive: true }));

it.each([
  [
    'Name:\tworker\nVmRSS:\t    9000 kB\nRssAnon:\t    2000 kB\nRssFile:\t    6900 kB\nRssShmem:\t     100 kB\n',
    2100 * 1024,
  ],
  ['Name:\tworker\nVmRSS:\t    9000 kB\n', undefined],
  ['', undefined],
])('what ends with a process is its own memory: %j', async (status, bytes) => {
  mkdirSync(join(root, 'proc/7'), { recursive: true });
  writeFileSync(join(root, 'proc/7/status'), status);
  expect(await readPrivateBytes(7, root)).toBe(bytes);
});

it('is not known of a process that has gone', async () => {
  expect(await readPrivateBytes(8, root)).toBeUndefined();
});
