import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { redact } from './redact.js';
import { ensureSecretFile, readSecretFile, Secret, writeSecretFile } from './secret-file.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-secret-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(text: string | Buffer, mode = 0o600): string {
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
    ['Schlüssel – 鍵 🗝\n', 'Schlüssel – 鍵 🗝'],
    ['x'.repeat(4096), 'x'.repeat(4096)],
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
    ['a\u2028b', 'has more than one line'],
    [' abc', 'begins or ends with a blank'],
    ['abc \n', 'begins or ends with a blank'],
    ['\ufeffabc\n', 'begins or ends with a blank'],
    ['a\tb', 'holds a control character'],
    ['a\u0000b', 'holds a control character'],
    ['a\u001b[2Jb', 'holds a control character'],
    ['a\u009bb', 'holds a control character'],
    [Buffer.from([0x61, 0xff, 0x62]), 'is not UTF-8 text'],
    ['x'.repeat(4097), 'is larger than 4096 bytes'],
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

  it('of 0440 is read as a credential that root gave to a service, and nowhere else', () => {
    const path = write('abc\n', 0o440);
    expect(() => readSecretFile(path)).toThrow('has mode 0440');
    const { uid, gid } = statSync(path);
    const read = () => readSecretFile(path, { credential: true }).reveal();
    if (uid === 0 && gid === 0) expect(read()).toBe('abc');
    else expect(read).toThrow('has mode 0440');
    expect(() => readSecretFile(write('abc', 0o444), { credential: true })).toThrow('has mode 0444');
  });

  it('that is no regular file is refused, and a pipe is not waited for', () => {
    const pipe = join(folder, 'pipe');
    execFileSync('sh', ['-c', 'umask 077; mkfifo "$0"', pipe]);
    for (const path of [pipe, folder]) expect(() => readSecretFile(path)).toThrow('is not a regular file');
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

describe('a key file that is made where there is none', () => {
  it('is random, for its owner alone, and stays as it is from then on', () => {
    const path = join(folder, 'a', 'secrets', 'hive.token');
    const made = ensureSecretFile(path);
    expect(made.reveal()).toMatch(/^[0-9a-f]{64}$/);
    expect([statSync(path).mode & 0o777, statSync(join(folder, 'a', 'secrets')).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(ensureSecretFile(path).matches(made)).toBe(true);
    expect(ensureSecretFile(join(folder, 'other')).matches(made)).toBe(false);
    expect(readdirSync(join(folder, 'a', 'secrets'))).toEqual(['hive.token']);
  });

  it('is left alone when it cannot be used', () => {
    const path = write('\n');
    expect(() => ensureSecretFile(path)).toThrow('is empty');
    expect(readFileSync(path, 'utf8')).toBe('\n');
  });

  it('leaves nothing behind and says why when it cannot be written', () => {
    const path = join(folder, 'x'.repeat(300));
    mkdirSync(join(folder, 'kept'));
    expect(() => ensureSecretFile(path)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('cannot be written (ENAMETOOLONG)'),
        details: { file: path, cause: 'ENAMETOOLONG' },
        suggestion: `give this user write permission on ${folder}`,
      }),
    );
    expect(readdirSync(folder)).toEqual(['kept']);
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

  it('matches another one that holds the same', () => {
    expect([secret.matches(new Secret('s3cret')), secret.matches(new Secret('S3CRET'))]).toEqual([true, false]);
  });

  it.each(['s3cret', 'Schlüssel', '鍵 🗝', '\u00a0à…'])('is the same in a header: %s', (value) => {
    const key = new Secret(value);
    const header = key.header();
    expect(header).toMatch(/^Bearer [\u0020-\u007e\u0080-\u00ff]+$/);
    expect(Secret.fromHeader(header.slice('Bearer '.length)).matches(key)).toBe(true);
    expect(Secret.fromHeader(header.slice('Bearer '.length)).reveal()).toBe(value);
  });

  it('is overwritten when it is disposed of, and then matches nothing', () => {
    const given = Buffer.from('s3cret of a file');
    const gone = new Secret(given).remember();
    const { fingerprint } = gone;
    given.fill(0);
    expect(gone.reveal()).toBe('s3cret of a file');
    expect(redact('it is: s3cret of a file')).toBe('it is: [REDACTED]');
    gone.dispose();
    gone.dispose();
    expect(redact('it is: s3cret of a file')).toBe('it is: s3cret of a file');
    expect(() => gone.reveal()).toThrow(`the key ${fingerprint} was disposed of`);
    expect(() => gone.header()).toThrow('was disposed of');
    expect([gone.matches('s3cret of a file'), gone.matches(gone), secret.matches(gone)]).toEqual([false, false, false]);
    expect(gone.remember().fingerprint).toBe(fingerprint);
  });

  it('of a key file is hidden from then on', () => {
    const key = readSecretFile(write('a plain sentence\n'));
    expect(redact('the log has a plain sentence in it')).toBe('the log has [REDACTED] in it');
    key.dispose();
  });
});
