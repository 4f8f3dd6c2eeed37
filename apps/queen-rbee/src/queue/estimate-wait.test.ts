import { describe, expect, it } from '@jest/globals';
import { estimateWait, type Server, serviceRate } from './estimate-wait.js';

describe('estimateWait', () => {
  const table: [string, number, Server[], number | undefined][] = [
    ['nothing is known', 1, [{ slots: 4, meanMs: undefined }], undefined],
    ['nobody serves', 1, [{ slots: 0, meanMs: 1_000 }], undefined],
    ['one slot', 1, [{ slots: 1, meanMs: 4_000 }], 4_000],
    ['the second of one slot', 2, [{ slots: 1, meanMs: 4_000 }], 8_000],
    ['several slots', 4, [{ slots: 4, meanMs: 4_000 }], 4_000],
    [
      'several workers, each at its speed',
      3,
      [
        { slots: 1, meanMs: 1_000 },
        { slots: 1, meanMs: 2_000 },
      ],
      2_000,
    ],
    [
      'one of which nothing is known',
      2,
      [
        { slots: 1, meanMs: 1_000 },
        { slots: 1, meanMs: undefined },
      ],
      1_000,
    ],
    ['jobs that take no time', 1, [{ slots: 1, meanMs: 0 }], 1],
  ];
  it.each(table)('%s', (_what, position, servers, expected) => {
    expect(estimateWait(position, serviceRate(servers))).toBe(expected);
  });
});
