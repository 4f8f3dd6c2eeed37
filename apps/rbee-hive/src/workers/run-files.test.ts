import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { identify, Secret, silentLogger, systemClock } from '@rbee/daemon-kit';
import { reapLeftovers } from './reap-leftovers.js';
import { RunFiles } from './run-files.js';

const SELF = identify(process.pid) ?? { pid: 0, startTime: undefined };
const TAKEOVER = {
  ...{ url: 'http://127.0.0.1:8001', modelId: 'm', modelPath: '/m.gguf', backend: 'cpu' as const, device: 0 },
  ...{ slots: 2, pinned: true },
};
const RECORD = {
  workerId: 'worker-1',
  modelRef: 'builtin:m',
  port: 8001,
  process: SELF,
  hive: SELF,
  takeover: TAKEOVER,
};

let folder: string;
let files: RunFiles;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-run-'));
  files = new RunFiles(folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

it('gives back what was written', () => {
  files.writeKey('worker-1', new Secret('a-key-0123456789'));
  files.writeRecord(RECORD);
  expect(files.readRecords()).toEqual([RECORD]);
  expect(files.readRecord('worker-1')).toEqual(RECORD);
  expect(files.readKey('worker-1').reveal()).toBe('a-key-0123456789');
  files.remove('worker-1');
  expect(readdirSync(folder)).toEqual([]);
  expect(files.readRecord('worker-1')).toBeUndefined();
});

it.each<[string, object]>([
  ['without a URL', { ...TAKEOVER, url: 'nowhere' }],
  ['with an unknown backend', { ...TAKEOVER, backend: 'abacus' }],
  ['with half a device', { ...TAKEOVER, device: 0.5 }],
  ['without a word about pinning', { ...TAKEOVER, pinned: undefined }],
  ['with slots in words', { ...TAKEOVER, slots: 'two' }],
])('keeps a record %s, so that the worker can be ended, but not taken over', (_what, takeover) => {
  writeFileSync(join(folder, 'worker-1.json'), JSON.stringify({ ...RECORD, takeover }));
  expect(files.readRecords()).toEqual([{ ...RECORD, takeover: undefined }]);
});

it.each(['', '{', 'null', '{"workerId":"worker-1"}', '{"workerId":"worker-1","process":{"pid":1,"startTime":"1"}}'])(
  'removes a record that says %j',
  (text) => {
    writeFileSync(join(folder, 'worker-1.json'), text);
    expect(files.readRecords()).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  },
);

it('is rid of what a start left that was cut off, but not of a start that is under way', async () => {
  const hourAgo = systemClock.now() / 1000 - 3600;
  for (const name of ['worker-old.key', 'worker-old.json.new', 'worker-new.key'])
    writeFileSync(join(folder, name), 'x');
  for (const name of ['worker-old.key', 'worker-old.json.new']) utimesSync(join(folder, name), hourAgo, hourAgo);
  files.writeKey('worker-1', new Secret('a-key-0123456789'));
  utimesSync(files.keyFile('worker-1'), hourAgo, hourAgo);
  files.writeRecord(RECORD);
  await reapLeftovers(files, systemClock, 100, silentLogger);
  expect(readdirSync(folder).sort()).toEqual(['worker-1.json', 'worker-1.key', 'worker-new.key']);
});
