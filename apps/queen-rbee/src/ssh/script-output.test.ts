import { expect, it } from '@jest/globals';
import { ScriptOutput } from './script-output.js';

function read(...chunks: (string | Buffer)[]) {
  const lines: string[] = [];
  const output = new ScriptOutput((line) => lines.push(line));
  for (const chunk of chunks) output.push(Buffer.from(chunk));
  return { lines, text: output.end(), pid: output.pid };
}

it('puts lines and characters together that come in pieces', () => {
  const bee = Buffer.from('🐝');
  expect(read('a', 'b\r\nc', bee.subarray(0, 2), bee.subarray(2), '\n\nend')).toEqual({
    lines: ['ab', 'c🐝', '', 'end'],
    text: 'ab\r\nc🐝\n\nend',
    pid: undefined,
  });
});

it('keeps the line with the process id for itself', () => {
  expect(read('noise\nrbee-script-pid:42\nerror\n')).toEqual({
    lines: ['noise', 'error'],
    text: 'noise\nerror\n',
    pid: 42,
  });
});

it('keeps 64 KiB of an output without any line end', () => {
  const { lines, text } = read(...Array.from({ length: 50 }, () => 'x'.repeat(10_000)), 'end');
  expect(text).toHaveLength(64 * 1024);
  expect(text.endsWith('xend')).toBe(true);
  expect(lines.join('')).toHaveLength(500_003);
});
