import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ChunkPacer } from './chunk-pacer.js';
import { MAX_CHUNK, MIN_CHUNK, nextChunkSize, shareBudget, toRung } from './chunk-size.js';

describe('toRung', () => {
  it.each([
    [0, 16],
    [Number.NaN, 16],
    [17, 16],
    [63, 32],
    [64, 64],
    [511, 256],
    [100_000, 512],
  ])('%d tokens are cut to %d', (tokens, rung) => expect(toRung(tokens)).toBe(rung));
});

describe('nextChunkSize', () => {
  it.each([
    ['falls at once to what fits', 512, 512, 800, 32],
    ['rises by one doubling', 64, 64, 5, 128],
    ['stays when it fits', 64, 64, 45, 64],
    ['does not rise after a small step', 256, 20, 0.1, 256],
    ['falls after a small step that was slow', 256, 20, 100, 16],
    ['never leaves the bounds below', 16, 16, 60_000, 16],
    ['never leaves the bounds above', 512, 512, 1, 512],
  ])('%s', (_what, current, tokens, ms, expected) => expect(nextChunkSize(current, tokens, ms)).toBe(expected));
});

describe('ChunkPacer', () => {
  it('keeps the size for exact repeats whatever it measures', () => {
    const pacer = new ChunkPacer(200);
    expect([pacer.exactSize, pacer.size]).toEqual([128, 128]);
    pacer.observe(128, 1000);
    expect([pacer.exactSize, pacer.size]).toEqual([128, 16]);
    for (let step = 0; step < 9; step++) pacer.observe(pacer.size, 1);
    expect([pacer.exactSize, pacer.size]).toEqual([128, MAX_CHUNK]);
  });
});

describe('shareBudget', () => {
  it.each([
    [512, [900], [512]],
    [512, [100], [100]],
    [100, [900, 900], [50, 50]],
    [100, [10, 900], [10, 90]],
    [100, [900, 20, 900], [40, 20, 40]],
    [2, [9, 9, 9], [1, 1, 1]],
  ])('%d tokens for prompts of %j', (budget, left, shares) => expect(shareBudget(budget, left)).toEqual(shares));

  it('gives every prompt something and none more than it has left', () => {
    const lefts = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.integer({ min: MIN_CHUNK, max: MAX_CHUNK }), lefts, (budget, left) => {
        const shares = shareBudget(budget, left);
        const total = left.reduce((sum, tokens) => sum + tokens, 0);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(budget);
        for (const [index, share] of shares.entries()) {
          expect(share).toBeGreaterThanOrEqual(1);
          expect(share).toBeLessThanOrEqual(left[index] as number);
        }
        if (total <= budget) expect(shares).toEqual(left);
      }),
    );
  });
});
