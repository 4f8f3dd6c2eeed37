import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import { cleanWorkerLogs } from './clean-worker-logs.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-logs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, hoursAgo: number) => {
  writeFileSync(join(folder, name), 'text\n');
  const at = systemClock.now() / 1000 - hoursAgo * 3600;
  utimesSync(join(folder, name), at, at);
  return join(folder, name);
};

it('removes the logs of workers that are older than a week, and no others', async () => {
  write('worker-old.log', 7 * 24 + 1);
  const used = write('worker-used.log', 7 * 24 + 1);
  write('worker-new.log', 7 * 24 - 1);
  write('rbee-hive.log', 10_000);
  write('crashes.jsonl', 10_000);
  expect(await cleanWorkerLogs(folder, systemClock, new Set([used]))).toBe(1);
  expect(readdirSync(folder).sort()).toEqual(['crashes.jsonl', 'rbee-hive.log', 'worker-new.log', 'worker-used.log']);
});

it('keeps the fifty newest', async () => {
  for (let index = 0; index < 60; index++) write(`worker-${index}.log`, index);
  expect(await cleanWorkerLogs(folder, systemClock, new Set())).toBe(10);
  expect(readdirSync(folder)).toHaveLength(50);
  expect(readdirSync(folder)).not.toContain('worker-50.log');
});
