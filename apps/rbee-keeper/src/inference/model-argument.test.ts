import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { makeFolder, removeFolders } from '../testing/start-keeper.js';
import { guessModelRef, toModelRef } from './model-argument.js';

afterEach(removeFolders);

function surroundings() {
  const home = makeFolder();
  const cwd = join(home, 'desk');
  mkdirSync(cwd);
  for (const file of [join(home, 'h.gguf'), join(cwd, 'w.gguf'), join(cwd, 'plain')]) writeFileSync(file, '');
  return { home, cwd };
}

describe('toModelRef', () => {
  it.each([
    ['hf:org/repo:q4', 'hf:org/repo:q4'],
    ['builtin:honeycomb', 'builtin:honeycomb'],
    ['file:///models/x.gguf', 'file:///models/x.gguf'],
    ['./w.gguf', 'file://HOME/desk/w.gguf'],
    ['../h.gguf', 'file://HOME/h.gguf'],
    ['w.gguf', 'file://HOME/desk/w.gguf'],
    ['~/h.gguf', 'file://HOME/h.gguf'],
    ['./plain', 'file://HOME/desk/plain'],
    ['plain', 'plain'],
    ['missing.gguf', 'missing.gguf'],
  ])('%s', (argument, expected) => {
    const where = surroundings();
    expect(toModelRef(argument, where, false)).toBe(expected.replace('HOME', where.home));
  });

  it.each([
    ['org/repo', 'hf:org/repo'],
    ['org/repo:Q4_K_M', 'hf:org/repo:Q4_K_M'],
    ['org/repo/folder/x.gguf', 'hf:org/repo:folder/x.gguf'],
    ['HF:org/repo', 'hf:org/repo'],
    ['hf://org/repo:q4', 'hf:org/repo:q4'],
    ['hf:org/repo/x-Q4_K_M.gguf', 'hf:org/repo:x-Q4_K_M.gguf'],
    ['hf.co/org/repo:Q4_K_M', 'hf:org/repo:Q4_K_M'],
    ['https://huggingface.co/org/repo', 'hf:org/repo'],
    ['https://huggingface.co/org/repo/tree/main', 'hf:org/repo'],
    ['https://huggingface.co/org/repo/blob/main/x-Q4_K_M.gguf?download=true', 'hf:org/repo:x-Q4_K_M.gguf'],
    ['honeycomb', 'builtin:honeycomb'],
    ['honeycomb:q8_0', 'builtin:honeycomb:q8_0'],
  ])('says what is right instead of %s', (argument, meant) => {
    const where = surroundings();
    const expected = { code: 'INVALID_MODEL_REF', suggestion: `write it like this: ${meant}` };
    expect(() => toModelRef(argument, where, false)).toThrow(expect.objectContaining(expected));
  });

  it.each(['gpt-4', 'models/missing.gguf', 'hf:', 'org/../repo', 'https://example.com/org/repo/x'])(
    'guesses nothing for %s',
    (argument) => {
      expect(guessModelRef(argument)).toBeUndefined();
    },
  );

  it('refuses the path of a missing file, unless that is on another machine', () => {
    const where = surroundings();
    expect(() => toModelRef('./missing.gguf', where, false)).toThrow(
      expect.objectContaining({ code: 'MODEL_NOT_FOUND' }),
    );
    expect(toModelRef('/models/missing.gguf', where, true)).toBe('file:///models/missing.gguf');
  });
});
