/** What came out of a run that is not a cell. */
export interface Figures {
  readonly name: string;
  readonly ok: boolean;
  readonly facts: Readonly<Record<string, string | number>>;
  readonly problems: readonly string[];
}

export interface RunOptions {
  /** Start of the random numbers that choose moments. */
  readonly seed: number;
  /** How many workers are killed. */
  readonly kills: number;
}

/** Numbers from 0 up to 1 that are the same for the same seed (Mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
