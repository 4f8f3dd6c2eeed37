import { describe, expect, it } from '@jest/globals';
import { FIRST_PIECE_BYTES, nextPieceSize } from './piece-size.js';

const MIB = 2 ** 20;

describe('nextPieceSize', () => {
  it.each([
    ['grows by a factor of four at most', 2 * MIB, 10, 8 * MIB],
    ['never grows beyond 256 MiB', 200 * MIB, 100, 256 * MIB],
    ['stays where a piece takes three seconds', 8 * MIB, 3000, 8 * MIB],
    ['shrinks on a slow link', 8 * MIB, 24_000, MIB],
    ['shrinks to 256 KiB at least', MIB, 3_000_000, MIB / 4],
  ])('%s', (_what, bytes, ms, expected) => expect(nextPieceSize(bytes, ms)).toBe(expected));

  it('begins so small that 300 kbit/s are enough for a hive that gives a request a minute', () => {
    expect((FIRST_PIECE_BYTES * 8) / 300_000).toBeLessThan(60);
  });
});
