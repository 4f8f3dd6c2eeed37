import { describe, expect, it } from '@jest/globals';
import { chooseThreads, listThreadCandidates, listUsableThreads, median } from './choose-threads.js';

const MB = 1e6;

describe('listThreadCandidates', () => {
  it.each([
    ['a tiny model on two cores', 2, 3 * MB, [1, 2]],
    ['one core', 1, 3 * MB, [1]],
    ['six cores', 6, 600 * MB, [1, 2, 4, 6]],
    ['a model whose step takes long with few threads', 16, 4000 * MB, [4, 8, 16]],
    ['a model that needs everything', 8, 40_000 * MB, [8]],
  ])('%s', (_what, cores, bytes, expected) => expect(listThreadCandidates(cores, bytes)).toEqual(expected));
});

describe('chooseThreads', () => {
  it.each([
    [
      'the fastest',
      [
        { threads: 1, stepMs: [10, 10, 11] },
        { threads: 2, stepMs: [6, 6, 7] },
      ],
      2,
    ],
    [
      'fewer where more are hardly faster',
      [
        { threads: 1, stepMs: [10] },
        { threads: 2, stepMs: [9.7] },
      ],
      1,
    ],
    [
      'fewer where more get in each other’s way',
      [
        { threads: 1, stepMs: [0.7, 0.8] },
        { threads: 2, stepMs: [12, 250] },
      ],
      1,
    ],
    [
      'by the middle, not by one slow step',
      [
        { threads: 1, stepMs: [10, 10, 10] },
        { threads: 2, stepMs: [5, 5, 400] },
      ],
      2,
    ],
    ['the only one', [{ threads: 4, stepMs: [3] }], 4],
  ])('%s', (_what, samples, expected) => expect(chooseThreads(samples)).toBe(expected));

  it('refuses to choose without a measurement', () => expect(() => chooseThreads([])).toThrow(RangeError));
});

describe('listUsableThreads', () => {
  const sample = (threads: number, ms: number) => ({ threads, stepMs: [ms] });
  it.each([
    [
      'fewer always, more unless they are useless',
      [sample(1, 20), sample(2, 10), sample(4, 15), sample(8, 25)],
      2,
      [1, 2, 4],
    ],
    ['one for a tiny model', [sample(1, 0.8), sample(2, 12)], 1, [1]],
    ['half and all of them where nothing was measured', [], 8, [4, 8]],
    ['the only one', [], 1, [1]],
  ])('%s', (_what, samples, chosen, expected) => expect(listUsableThreads(samples, chosen)).toEqual(expected));
});

describe('median', () => {
  it.each([
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[], Number.POSITIVE_INFINITY],
  ])('of %j is %d', (values, expected) => expect(median(values)).toBe(expected));
});
