import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { makeFolder, removeFolders } from '../testing/start-keeper.js';
import { toModelRef } from './model-argument.js';

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

  it('refuses the path of a missing file, unless that is on another machine', () => {
    const where = surroundings();
    expect(() => toModelRef('./missing.gguf', where, false)).toThrow(
      expect.objectContaining({ code: 'MODEL_NOT_FOUND' }),
    );
    expect(toModelRef('/models/missing.gguf', where, true)).toBe('file:///models/missing.gguf');
  });
});
