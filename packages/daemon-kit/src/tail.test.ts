import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readLastLines } from './tail.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-tail-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the last lines of a file', () => {
  const write = (text: string | Buffer) => {
    const path = join(folder, 'lines.log');
    writeFileSync(path, text);
    return path;
  };

  it.each([
    ['a\nb\nc\n', 2, ['b', 'c']],
    ['a\nb\nc', 2, ['b', 'c']],
    ['a\nb\nc\n', 3, ['a', 'b', 'c']],
    ['a\nb\nc\n', 9, ['a', 'b', 'c']],
    ['a\n\n\n', 2, ['', '']],
    ['\n', 5, ['']],
    ['', 5, []],
    ['a', 1, ['a']],
    ['a\nb', 0, []],
    ['a\nb', -1, []],
  ])('of %j: %d', async (text, count, lines) => expect(await readLastLines(write(text), count)).toEqual(lines));

  it('are none of a file that is missing', async () =>
    expect(await readLastLines(join(folder, 'none'), 5)).toEqual([]));

  it('of a folder are an error', async () => {
    await expect(readLastLines(folder, 5)).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it('may be longer than what is read at once, with code points across the border', async () => {
    const lines = Array.from({ length: 3000 }, (_item, i) => `${i} ${'é😀'.repeat(i % 97)}`);
    const path = write(`${lines.join('\n')}\n`);
    for (const count of [1, 2, 500, 2999, 3000, 4000])
      expect(await readLastLines(path, count)).toEqual(lines.slice(-count));
    const long = `${'é'.repeat(200_000)}x`;
    expect(await readLastLines(write(`first\n${long}\n`), 1)).toEqual([long]);
  });

  it('that fill a multiple of the block are counted right', async () => {
    const line = 'x'.repeat(1023);
    expect(await readLastLines(write(`${line}\n`.repeat(128)), 64)).toEqual(Array(64).fill(line));
  });
});
