import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { chooseEvictions } from './choose-evictions.js';

interface Idle {
  readonly id: string;
  readonly idleSince: number;
  readonly mb: number;
}

const idle = (id: string, idleSince: number, mb: number): Idle => ({ id, idleSince, mb });
const freed = (workers: readonly Idle[]) => workers.reduce((sum, { mb }) => sum + mb, 0);
const choose = (workers: readonly Idle[], needed: number) =>
  chooseEvictions(workers, (gone) => freed(gone) >= needed)?.map(({ id }) => id);

describe('chooseEvictions', () => {
  const three = [idle('a', 30, 1000), idle('b', 10, 1000), idle('c', 20, 1000)];

  it.each([
    ['none when it fits already', three, 0, []],
    ['the one used least recently', three, 1000, ['b']],
    ['two, the oldest first', three, 1001, ['b', 'c']],
    ['all', three, 3000, ['b', 'c', 'a']],
    ['none at all when all would not be enough', three, 3001, undefined],
    ['none where there is none', [], 1, undefined],
    ['only the large one, though a small one was idle for longer', [idle('s', 1, 10), idle('l', 2, 500)], 400, ['l']],
    [
      'of those not needed, the most recently used is spared first',
      [idle('a', 1, 300), idle('b', 2, 300), idle('l', 3, 700)],
      1000,
      ['a', 'l'],
    ],
    ['the lower id where both have been idle for as long', [idle('y', 5, 10), idle('x', 5, 10)], 10, ['x']],
  ])('ends %s', (_what, workers, needed, expected) => {
    expect(choose(workers, needed)).toEqual(expected);
  });

  const workers = fc.uniqueArray(
    fc.record({ id: fc.uuid(), idleSince: fc.nat({ max: 50 }), mb: fc.nat({ max: 8000 }) }),
    { maxLength: 12, selector: ({ id }) => id },
  );

  it('ends just enough: without any of them it would not fit, and none where all are too little', () => {
    fc.assert(
      fc.property(workers, fc.nat({ max: 40_000 }), (present, needed) => {
        const ids = choose(present, needed);
        expect(ids === undefined).toBe(freed(present) < needed);
        const gone = present.filter(({ id }) => ids?.includes(id));
        if (ids === undefined) return;
        expect(gone).toHaveLength(ids.length);
        expect(freed(gone)).toBeGreaterThanOrEqual(needed);
        for (const worker of gone) expect(freed(gone) - worker.mb).toBeLessThan(needed);
      }),
    );
  });

  it('of equal workers takes those that were idle for longest, whatever their order', () => {
    fc.assert(
      fc.property(workers, fc.nat({ max: 12 }), (present, count) => {
        fc.pre(count <= present.length);
        const equal = present.map((worker) => ({ ...worker, mb: 100 }));
        const ids = choose(equal, count * 100) ?? [];
        const ended = equal.filter(({ id }) => ids.includes(id));
        const kept = equal.filter(({ id }) => !ids.includes(id));
        expect(ended).toHaveLength(count);
        const latest = Math.max(0, ...ended.map(({ idleSince }) => idleSince));
        expect(kept.every(({ idleSince }) => idleSince >= latest)).toBe(true);
        expect(choose([...equal].reverse(), count * 100)).toEqual(ids);
      }),
    );
  });
});
