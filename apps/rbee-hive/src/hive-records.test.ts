import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { identify, type ProcessIdentity } from '@rbee/daemon-kit';
import { HiveRecords } from './hive-records.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hive-records-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const own = () => ({ ...(identify(process.pid) as ProcessIdentity), installation: '/opt/rbee' });
const parent = () => ({ ...(identify(process.ppid) as ProcessIdentity), installation: '/opt/rbee' });

it('takes the notes of killed processes away with the next one', () => {
  const records = new HiveRecords(folder);
  records.write({ ...parent(), startTime: 'of a process before it' });
  const forget = records.write(own());
  expect(readdirSync(folder)).toEqual([`${process.pid}.json`]);
  expect(records.running()).toEqual([own()]);
  forget();
  expect(readdirSync(folder)).toEqual([]);
});

it('leaves the notes of processes that run, and those that are being written', () => {
  const records = new HiveRecords(folder);
  records.write(parent());
  writeFileSync(join(folder, '12.json'), '{"pid": 12');
  records.write(own());
  expect(readdirSync(folder).sort()).toEqual(['12.json', `${process.ppid}.json`, `${process.pid}.json`].sort());
  expect(records.running()).toHaveLength(2);
});
