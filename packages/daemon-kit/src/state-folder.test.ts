import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { makeStateFolder } from './state-folder.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-state-folder-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a state folder', () => {
  it('is made for its owner alone, once', () => {
    const path = join(folder, 'a', 'b');
    makeStateFolder(path);
    makeStateFolder(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  it('that cannot be made is a fault of the configuration', () => {
    const blocked = join(folder, 'file');
    writeFileSync(blocked, '');
    expect(() => makeStateFolder(join(blocked, 'x'))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', details: { path: join(blocked, 'x'), cause: 'ENOTDIR' } }),
    );
  });
});
