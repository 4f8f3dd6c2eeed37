import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { findKnownKeys, readKnownKeys } from './known-hosts.js';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
const OTHER = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIeYTwDZLtQjBkdyQ5zHWrYdDYrPUrVdkKM7YgrFRCyH';

describe('a known_hosts file', () => {
  it.each([
    ['a plain name', `bench.test ${KEY} comment`, 'bench.test', 22, true],
    ['a name in other case', `Bench.Test ${KEY}`, 'BENCH.test', 22, true],
    ['a list', `one,bench.test,10.0.0.1 ${KEY}`, '10.0.0.1', 22, true],
    ['another name', `bench.test ${KEY}`, 'bench', 22, false],
    ['a dot as a dot', `bench.test ${KEY}`, 'benchxtest', 22, false],
    ['a port', `[bench.test]:2222 ${KEY}`, 'bench.test', 2222, true],
    ['another port', `[bench.test]:2222 ${KEY}`, 'bench.test', 22, false],
    ['no port at another one', `bench.test ${KEY}`, 'bench.test', 2222, false],
    ['IPv6', `::1 ${KEY}`, '::1', 22, true],
    ['a pattern', `*.test ${KEY}`, 'bench.test', 22, true],
    ['a pattern with one character', `bench-? ${KEY}`, 'bench-1', 22, true],
    ['a pattern with an exception', `*.test,!bench.test ${KEY}`, 'bench.test', 22, false],
    ['an exception before', `!bench.test,*.test ${KEY}`, 'bench.test', 22, false],
    ['a certificate authority', `@cert-authority *.test ${KEY}`, 'bench.test', 22, false],
    ['a comment', `# bench.test ${KEY}`, 'bench.test', 22, false],
    ['a line that is cut off', 'bench.test ssh-ed25519', 'bench.test', 22, false],
    ['a hash of another kind', `|2|AAAA|BBBB ${KEY}`, 'bench.test', 22, false],
  ])('with %s', (_name, line, host, port, found) => {
    expect(findKnownKeys(`\n${line}\n`, host, port).keys).toEqual(found ? [KEY] : []);
  });

  it('has several keys of one host, and revoked ones', () => {
    const text = `bench ${KEY}\nbench ${OTHER}\n@revoked * ${OTHER}\n`;
    expect(findKnownKeys(text, 'bench', 22)).toEqual({ keys: [KEY, OTHER], revoked: [OTHER] });
  });

  it('is read when ssh-keygen has hashed it; a missing one is empty', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'known-hosts-'));
    try {
      const file = join(folder, 'known_hosts');
      writeFileSync(file, `bench.test ${KEY}\n[bench.test]:2222 ${OTHER}\n`);
      execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'ignore' });
      expect(readFileSync(file, 'utf8')).not.toContain('bench');
      const files = [join(folder, 'none'), file];
      expect(await readKnownKeys(files, 'bench.test', 22)).toEqual({ keys: [KEY], revoked: [] });
      expect(await readKnownKeys(files, 'Bench.test', 2222)).toEqual({ keys: [OTHER], revoked: [] });
      expect(await readKnownKeys(files, 'bench.test', 23)).toEqual({ keys: [], revoked: [] });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
