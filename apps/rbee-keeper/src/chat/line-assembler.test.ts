import { describe, expect, it } from '@jest/globals';
import { LineAssembler } from './line-assembler.js';

/** The texts that lines make, and what is left at the end. */
function assemble(...lines: string[]): { texts: string[]; rest: string | undefined } {
  const assembler = new LineAssembler();
  const texts = lines.map((line) => assembler.push(line)).filter((text) => text !== undefined);
  return { texts, rest: assembler.flush() };
}

describe('LineAssembler', () => {
  it.each<[string, string[], string[], string | undefined]>([
    ['single lines', ['a', ' b '], ['a', ' b '], undefined],
    ['an empty line', [''], [''], undefined],
    ['a continued line', ['a\\', 'b\\', 'c', 'd'], ['a\nb\nc', 'd'], undefined],
    ['a block', ['"""', 'a', '', '  b\\', '"""', 'c'], ['a\n\n  b\\', 'c'], undefined],
    ['a block that shares its lines', ['"""a', 'b"""'], ['a\nb'], undefined],
    ['a block on one line', ['"""a"""'], ['a'], undefined],
    ['an empty block', ['"""', '"""'], [''], undefined],
    ['quotes in the middle of a line', ['say """hi""" now'], ['say """hi""" now'], undefined],
    ['a block that is never closed', ['"""', 'a', 'b'], [], 'a\nb'],
    ['a continuation that never comes', ['a\\'], [], 'a'],
  ])('%s', (_name, lines, texts, rest) => {
    expect(assemble(...lines)).toEqual({ texts, rest });
  });

  it('tells whether it waits for more, and forgets on demand', () => {
    const assembler = new LineAssembler();
    assembler.push('"""');
    expect(assembler.isOpen).toBe(true);
    assembler.reset();
    expect(assembler.isOpen).toBe(false);
    expect(assembler.push('a')).toBe('a');
  });
});
