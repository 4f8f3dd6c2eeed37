import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isLoopback, problemsOfKey, problemsOfOpenAddress } from './bind-policy.js';

const LOOPBACK = ['127.0.0.1', '127.1.2.3', '::1', 'localhost'];
const OPEN = [
  '0.0.0.0',
  '::',
  '192.168.1.5',
  '1270.0.0.1',
  '127.0.0.1.example',
  'localhost.example',
  '127.0.0',
  'hive',
];

describe('an address', () => {
  it.each(LOOPBACK)('of loopback needs no key: %s', (host) => {
    expect(isLoopback(host)).toBe(true);
    expect(problemsOfOpenAddress(host, false, 'auth.api_token_file')).toEqual([]);
  });

  it.each(OPEN)('that others may reach needs one: %s', (host) => {
    expect(isLoopback(host)).toBe(false);
    expect(problemsOfOpenAddress(host, true, 'auth.api_token_file')).toEqual([]);
    expect(problemsOfOpenAddress(host, false, 'auth.api_token_file')).toEqual([
      {
        key: 'auth.api_token_file',
        origin: 'default',
        expected: 'the path of a file with a key (mode 0600)',
        message: `expected the path of a file with a key (mode 0600), because ${host} can be reached from other machines`,
        suggestion: 'set auth.api_token_file to a file with a key (chmod 600), or listen on 127.0.0.1',
      },
    ]);
  });
});

describe('a key', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'rbee-bind-policy-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const SETTING = { key: 'auth.api_token_file', origin: 'file' } as const;
  const write = (text: string, mode: number) => {
    const path = join(folder, `key-${mode}`);
    writeFileSync(path, text, { mode });
    return path;
  };

  it('that can be used, or that is not needed, is no problem', () => {
    expect(problemsOfKey(undefined, SETTING)).toEqual([]);
    expect(problemsOfKey({ kind: 'file', path: write('k3y\n', 0o600) }, SETTING)).toEqual([]);
  });

  it('that cannot is one of the setting that names it, told without what is in the file', () => {
    const problems = problemsOfKey({ kind: 'file', path: write('s3cret\n', 0o644) }, SETTING);
    expect(problems).toMatchObject([
      { ...SETTING, message: expect.stringContaining('0644'), suggestion: expect.stringContaining('chmod 600') },
    ]);
    expect(JSON.stringify(problems)).not.toContain('s3cret');
  });

  it('of a credential directory is called by its path, because no setting names it', () => {
    const path = join(folder, 'none');
    expect(problemsOfKey({ kind: 'credential', path }, SETTING)).toMatchObject([{ key: path, origin: 'environment' }]);
  });
});
