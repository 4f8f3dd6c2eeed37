import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger } from './logger.js';
import { announceKey, findKeySource, ServiceKey } from './service-key.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-key-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function capture() {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  return { lines, log: createLogger({ service: 'rbee-hive', level: 'debug', destinations: [destination] }) };
}

describe('the source of a key', () => {
  const find = (file?: string, variables: Record<string, string> = {}) =>
    findKeySource({ file, variables, service: 'rbee-hive', root: folder });

  it('is the file that is configured, also where it is missing', () => {
    write('rbee-hive/api_token', 'x');
    expect(find('/none/key')).toEqual({ kind: 'file', path: '/none/key' });
  });

  it('is a credential of the service manager, the nearest one', () => {
    expect(find()).toBeUndefined();
    for (const [name, variables] of [
      ['rbee-hive/api_token', {}],
      ['rbee-hive.service/api_token', {}],
      ['given/api_token', { CREDENTIALS_DIRECTORY: join(folder, 'given') }],
    ] as const) {
      const path = write(name, 'x', 0o400);
      expect(find(undefined, variables)).toEqual({ kind: 'credential', path });
    }
    expect(find(undefined, { CREDENTIALS_DIRECTORY: join(folder, 'none') })?.path).toContain('rbee-hive.service');
  });

  it('is none where the credentials are those of another service', () => {
    write('queen-rbee.service/api_token', 'x', 0o400);
    write('mine/other', 'x', 0o400);
    expect(find(undefined, { CREDENTIALS_DIRECTORY: join(folder, 'mine') })).toBeUndefined();
  });
});

describe("a service's key", () => {
  const load = (path: string) => ServiceKey.load({ kind: 'file', path });

  it('is read at once, and refused where it cannot be used', () => {
    expect(load(write('key', 'first key\n')).current.matches('first key')).toBe(true);
    expect(ServiceKey.load({ kind: 'credential', path: write('key', 'a', 0o400) }).current.matches('a')).toBe(true);
    expect(() => load(write('key', 'first key\n', 0o640))).toThrow('has mode 0640');
    expect(() => load(join(folder, 'none'))).toThrow('ENOENT');
  });

  it('is another one after its file was read again', () => {
    const { log, lines } = capture();
    const key = load(write('key', 'first key\n'));
    const { current: old } = key;
    write('key', 'second key\n');
    expect(key.reload(log)).toBe('changed');
    expect([key.current.matches('second key'), key.current.matches('first key')]).toEqual([true, false]);
    expect(old.matches('first key')).toBe(false);
    expect(() => old.reveal()).toThrow('was disposed of');
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'info',
        msg: 'the key was replaced',
        source: 'file',
        identity: key.current.fingerprint,
        replaced: old.fingerprint,
      }),
    ]);
  });

  it('stays where its file says the same', () => {
    const { log, lines } = capture();
    const key = load(write('key', 'first key\n'));
    const { current } = key;
    write('key', 'first key');
    expect(key.reload(log)).toBe('unchanged');
    expect([key.current === current, current.matches('first key'), lines.length]).toEqual([true, true, 0]);
  });

  it.each([
    ['is open to others', () => write('key', 'second key\n', 0o644), 'has mode 0644'],
    ['is empty', () => write('key', '\n'), 'is empty'],
    ['is gone', () => rmSync(join(folder, 'key')), 'ENOENT'],
  ])('stays where its file %s, and that is told', (_what, spoil, why) => {
    const { log, lines } = capture();
    const key = load(write('key', 'first key\n'));
    spoil();
    expect(key.reload(log)).toBe('kept');
    expect(key.current.matches('first key')).toBe(true);
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'error',
        msg: 'the new key cannot be used: the old one stays',
        source: 'file',
        identity: key.current.fingerprint,
        error: expect.objectContaining({ error_code: 'CONFIG_INVALID', message: expect.stringContaining(why) }),
      }),
    ]);
    expect(JSON.stringify(lines)).not.toContain('second key');
  });

  it('lets nobody in once it is closed', () => {
    const key = load(write('key', 'first key\n'));
    key.close();
    expect(key.current.matches('first key')).toBe(false);
  });
});

describe('what is said about it at the start', () => {
  it('is where it comes from and its fingerprint', () => {
    const { log, lines } = capture();
    const key = ServiceKey.load({ kind: 'credential', path: write('key', 'first key\n') });
    announceKey(log, '0.0.0.0', key);
    const said = { msg: 'a key was loaded: callers need it', source: 'credential', identity: key.current.fingerprint };
    expect(lines).toEqual([expect.objectContaining({ level: 'info', ...said })]);
    expect(JSON.stringify(lines)).not.toContain('first key');
  });

  it('is that there is none', () => {
    const { log, lines } = capture();
    announceKey(log, '127.0.0.1', undefined);
    const said = { msg: 'authentication is off: only this machine can call', host: '127.0.0.1' };
    expect(lines).toEqual([expect.objectContaining({ level: 'info', ...said })]);
  });
});
