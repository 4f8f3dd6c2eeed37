import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readSecretFile, Secret, writeSecretFile } from './secret-file.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-secret-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(text: string, mode = 0o600): string {
  const path = join(folder, 'api_token');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('a key file', () => {
  it.each([0o600, 0o400])('of mode %o is read', (mode) =>
    expect(readSecretFile(write('abc\n', mode)).reveal()).toBe('abc'),
  );

  it.each([
    ['abc', 'abc'],
    ['abc\n', 'abc'],
    ['abc\r\n', 'abc'],
    ['with spaces, and "more"\n', 'with spaces, and "more"'],
  ])('%j holds %j', (text, key) => expect(readSecretFile(write(text)).reveal()).toBe(key));

  it.each([0o640, 0o604, 0o644, 0o660, 0o777])('of mode %o is refused, with the modes', (mode) => {
    expect(() => readSecretFile(write('abc\n', mode))).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(new RegExp(`mode 0${mode.toString(8)}, expected 0600 or 0400`)),
        suggestion: expect.stringContaining('chmod 600'),
      }),
    );
  });

  it.each([
    ['', 'is empty'],
    ['\n', 'is empty'],
    ['  \t \n', 'is empty'],
    ['a\nb\n', 'has more than one line'],
    ['a\n\n', 'has more than one line'],
    ['a\rb', 'has more than one line'],
  ])('that holds %j is refused: it %s', (text, why) => {
    expect(() => readSecretFile(write(text))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(why) }),
    );
  });

  it('that is missing is refused with its path', () => {
    const path = join(folder, 'none');
    expect(() => readSecretFile(path)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: `the key file ${path} cannot be read (ENOENT)`,
        details: { file: path },
      }),
    );
  });

  it('is never quoted', () => {
    try {
      readSecretFile(write('s3cret\nmore\n'));
    } catch (error) {
      expect(inspect(error, { depth: 9 })).not.toContain('s3cret');
      return;
    }
    throw new Error('the file was accepted');
  });

  it('that is written can be read by its owner alone, and is never overwritten', () => {
    const path = join(folder, 'worker.key');
    writeSecretFile(path, new Secret('abc'));
    expect([readFileSync(path, 'utf8'), statSync(path).mode & 0o777]).toEqual(['abc\n', 0o600]);
    expect(readSecretFile(path).matches('abc')).toBe(true);
    expect(() => writeSecretFile(path, new Secret('other'))).toThrow('EEXIST');
  });
});

describe('a secret', () => {
  const secret = new Secret('s3cret');

  it('matches itself only', () => {
    expect(secret.matches('s3cret')).toBe(true);
    for (const other of ['', 's3cre', 's3cret ', 'S3CRET', 'x'.repeat(1e5)]) expect(secret.matches(other)).toBe(false);
  });

  it('is shown by its fingerprint, however it is printed', () => {
    const fingerprint = 'token:1ec1c2';
    expect(secret.fingerprint).toBe(fingerprint);
    expect([`${secret}`, JSON.stringify({ secret })]).toEqual([fingerprint, `{"secret":"${fingerprint}"}`]);
    expect(inspect(secret, { depth: 9, showHidden: true })).not.toContain('s3cret');
  });
});
