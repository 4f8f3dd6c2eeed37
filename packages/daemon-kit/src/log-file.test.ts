import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { LogFile } from './log-file.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-log-file-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a log file', () => {
  it('is made with its folder, for its owner alone', () => {
    const file = new LogFile(join(folder, 'logs', 'deep', 'rbee-hive.log'));
    file.write('a\n');
    file.close();
    expect(readFileSync(file.path, 'utf8')).toBe('a\n');
    expect(statSync(file.path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'logs')).mode & 0o777).toBe(0o700);
  });

  it('goes on behind what is there, written at once', () => {
    const path = join(folder, 'x.log');
    writeFileSync(path, 'before\n');
    const file = new LogFile(path);
    file.write('after\n');
    expect(readFileSync(path, 'utf8')).toBe('before\nafter\n');
    file.close();
  });

  it('takes nothing once it is closed, and may be closed twice', () => {
    const file = new LogFile(join(folder, 'x.log'));
    file.close();
    file.close();
    file.write('late\n');
    expect(readFileSync(file.path, 'utf8')).toBe('');
  });

  it('is made anew when it was removed with its folder', () => {
    const file = new LogFile(join(folder, 'logs', 'x.log'));
    file.write('lost\n');
    rmSync(join(folder, 'logs'), { recursive: true });
    file.write('found\n');
    expect(readFileSync(file.path, 'utf8')).toBe('found\n');
    file.close();
  });

  it('that was renamed is begun anew when it is opened again, and goes on where that fails', () => {
    const path = join(folder, 'logs', 'x.log');
    const file = new LogFile(path);
    file.write('a\n');
    renameSync(path, `${path}.1`);
    file.write('b\n');
    file.reopen();
    file.write('c\n');
    expect([readFileSync(`${path}.1`, 'utf8'), readFileSync(path, 'utf8')]).toEqual(['a\nb\n', 'c\n']);
    renameSync(join(folder, 'logs'), join(folder, 'former'));
    writeFileSync(join(folder, 'logs'), 'in the way');
    file.reopen();
    file.write('d\n');
    expect(readFileSync(join(folder, 'former', 'x.log'), 'utf8')).toBe('c\nd\n');
    file.close();
    file.reopen();
    file.write('late\n');
    expect(readFileSync(join(folder, 'former', 'x.log'), 'utf8')).toBe('c\nd\n');
  });

  it('drops lines while the disk is full', () => {
    const file = new LogFile('/dev/full');
    file.write('lost\n');
    file.close();
  });
});
