/** A first piece that a slow link of 300 kbit/s also takes in the minute that a hive gives a request. */
export const FIRST_PIECE_BYTES = 2 * 2 ** 20;
const SMALLEST_PIECE_BYTES = 256 * 2 ** 10;
const LARGEST_PIECE_BYTES = 256 * 2 ** 20;
/** How long a piece should take: long enough that the pause between two does not count, short enough to be lost. */
const PIECE_MS = 3_000;
const LARGEST_GROWTH = 4;

/** How many bytes the next piece of a copy has, after one of `bytes` took `ms`. */
export function nextPieceSize(bytes: number, ms: number): number {
  const wanted = Math.round((bytes / Math.max(ms, 1)) * PIECE_MS);
  const most = Math.min(bytes * LARGEST_GROWTH, LARGEST_PIECE_BYTES);
  return Math.max(SMALLEST_PIECE_BYTES, Math.min(wanted, most));
}
