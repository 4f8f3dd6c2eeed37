import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { findJsonFault } from './json-fault.js';

describe('the fault of a text', () => {
  it.each([
    ['{"a":x}', 5],
    ['{"a":1 "b":2}', 7],
    ['[1,]', 3],
    ['nulx', 3],
    ['{"a":"\\q"}', 7],
    ['{"a\n":1}', 3],
    ['<html>', 0],
    ['{} {}', 3],
    ['[1e]', 3],
  ])('stands where it stops being JSON: %j', (text, position) => expect(findJsonFault(text)).toBe(position));

  it.each(['', '{', '{"a"', '{"a":', '{"a":1', '[1,', '"ab', 'tru', '12.', '-', '"\\u12', '"\\'])(
    'is its end when it only ends early: %j',
    (text) => {
      expect(findJsonFault(text)).toBe(text.length);
    },
  );

  it.each(['{}', ' [1, 2] ', '"a"', 'null', '1e5'])('is none in %j', (text) =>
    expect(findJsonFault(text)).toBeUndefined(),
  );

  it('is found wherever it is put, and never behind a cut', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.nat(), (value, place) => {
        const text = JSON.stringify({ value });
        const position = place % text.length;
        expect(findJsonFault(`${text.slice(0, position)}\u0001${text.slice(position)}`)).toBe(position);
        expect(findJsonFault(text.slice(0, position))).toBe(position);
      }),
      { numRuns: 300 },
    );
  });

  it('is not looked for in a text that is too long', () =>
    expect(findJsonFault(`${' '.repeat(2 ** 20)}x`)).toBeUndefined());
});
