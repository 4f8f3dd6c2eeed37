import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { StopMatcher } from './stop-matcher.js';

/** What the matcher must find, by looking at the whole text again for each end. */
function findFirst(text: string, stops: readonly string[]): { end: number; stop: string } | undefined {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    const [longest] = complete.sort((a, b) => b.length - a.length);
    if (longest !== undefined) return { end, stop: longest };
  }
  return undefined;
}

function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let units = 1; units < stop.length; units++)
      if (text.endsWith(stop.slice(0, units)) && units > longest) longest = units;
  }
  return longest;
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 40 });
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 6 }), {
  maxLength: 4,
});

describe('StopMatcher', () => {
  it.each([
    ['END', 'the END of it', 7, 'END'],
    ['\n\n', 'one\n\ntwo', 5, '\n\n'],
    ['aab', 'aaab', 4, 'aab'],
  ])('finds %j in %j', (stop, text, end, matched) => {
    const matcher = new StopMatcher([stop]);
    expect(matcher.scan(text)).toBe(end);
    expect(matcher.matched).toBe(matched);
  });

  it('ends at the first string that is complete, and at the longest of those', () => {
    const matcher = new StopMatcher(['abcd', 'bc', 'abc']);
    expect(matcher.scan('xabcd')).toBe(4);
    expect(matcher.matched).toBe('abc');
  });

  it('is inactive without strings, and leaves out strings that are no text', () => {
    expect(new StopMatcher([]).active).toBe(false);
    expect(new StopMatcher(['\ud83d']).active).toBe(false);
  });

  it('finds the same place however the text is cut, and knows what may be a beginning', () => {
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), stops, (pieces, strings) => {
        const text = pieces.join('');
        const expected = findFirst(text, strings);
        const matcher = new StopMatcher(strings);
        let seen = 0;
        for (const piece of pieces) {
          const found = matcher.scan(piece);
          if (found >= 0) {
            expect({ end: seen + found, stop: matcher.matched }).toEqual(expected);
            return;
          }
          seen += piece.length;
          expect(matcher.held).toBe(longestBeginning(text.slice(0, seen), strings));
        }
        expect(expected).toBeUndefined();
        expect(matcher.matched).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});
