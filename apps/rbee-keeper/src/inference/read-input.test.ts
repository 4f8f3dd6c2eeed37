import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { makeFolder, removeFolders } from '../testing/start-keeper.js';
import { type InputSource, readInput } from './read-input.js';

afterEach(removeFolders);

const never = new AbortController().signal;

function read(source: InputSource, content: string | Uint8Array = '') {
  const cwd = makeFolder();
  writeFileSync(join(cwd, 'file'), content);
  mkdirSync(join(cwd, 'folder'));
  const stdin = new PassThrough();
  stdin.end(content);
  return readInput(source, { cwd, stdin }, never);
}

describe('readInput', () => {
  it.each<[string, string, string]>([
    ['text without a line break', 'a', 'a'],
    ['one line break at the end', 'a\n', 'a'],
    ['two of them', 'a\n\n', 'a\n'],
    ['one of Windows', 'a\r\n', 'a'],
    ['a byte order mark', '\ufeffa\n', 'a'],
    ['other scripts', 'žluťoučký 蜂蜜 🍯\n', 'žluťoučký 蜂蜜 🍯'],
  ])('%s', async (_name, content, prompt) => {
    expect(await read({ promptFile: 'file' }, content)).toEqual({ prompt });
    expect(await read({ prompt: '-' }, content)).toEqual({ prompt });
  });

  it('takes a prompt on the command line as it is', async () => {
    expect(await read({ prompt: 'a\n' })).toEqual({ prompt: 'a\n' });
  });

  it.each<[string, InputSource, string | Uint8Array, string]>([
    ['an empty prompt', { prompt: '' }, '', 'the prompt is empty'],
    ['an empty file', { promptFile: 'file' }, '\n', 'the prompt in file is empty'],
    ['empty standard input', { prompt: '-' }, '', 'the prompt from standard input is empty'],
    ['a NUL character', { promptFile: 'file' }, 'a\0b', 'NUL'],
    [
      'bytes that are no text',
      { promptFile: 'file' },
      Uint8Array.of(0xff, 0xfe),
      '--prompt-file: file is not text in UTF-8',
    ],
    ['a missing file', { promptFile: 'missing' }, '', '--prompt-file: missing does not exist'],
    ['a folder', { promptFile: 'folder' }, '', '--prompt-file: folder is a folder'],
    ['messages that are no JSON', { messages: 'file' }, '[', '--messages: file is not valid JSON'],
    ['messages that are no list', { messages: 'file' }, '{}', '--messages: file is not a JSON array'],
    ['no messages', { messages: '-' }, '[]', '--messages: standard input is not a JSON array'],
    [
      'a wrong role',
      { messages: 'file' },
      '[{"role":"user","content":""},{"role":"bee","content":""}]',
      'index 1: role',
    ],
  ])('refuses %s', async (_name, source, content, says) => {
    await expect(read(source, content)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(says),
    });
  });

  it('does not read without end', async () => {
    await expect(
      readInput({ promptFile: '/dev/zero' }, { cwd: '/', stdin: new PassThrough() }, never),
    ).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  it('stops waiting for standard input when the user gives up', async () => {
    const abort = new AbortController();
    const reading = readInput({ prompt: '-' }, { cwd: '/', stdin: new PassThrough() }, abort.signal);
    abort.abort(new Error('given up'));
    await expect(reading).rejects.toThrow('given up');
  });
});
