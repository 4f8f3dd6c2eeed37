/** A chunk of a prompt is cut so that its evaluation takes about this long: the time a cancel or a token of another slot waits. */
export const CHUNK_TARGET_MS = 50;
export const MIN_CHUNK = 16;
/** Also the size of the engine's batch. */
export const MAX_CHUNK = 512;

/** The largest power of two that is not above a number of tokens, within the bounds of a chunk. */
export function toRung(tokens: number): number {
  if (!(tokens > MIN_CHUNK)) return MIN_CHUNK;
  return Math.min(MAX_CHUNK, 2 ** Math.floor(Math.log2(tokens)));
}

/**
 * The next size after a step of `tokens` took `ms`: at once down to what fits the target, one doubling up at a time. A step
 * much smaller than the current size says nothing about a full one, so it never leads upwards.
 */
export function nextChunkSize(current: number, tokens: number, ms: number): number {
  const fitting = toRung((CHUNK_TARGET_MS * tokens) / Math.max(ms, 0.001));
  if (fitting < current) return fitting;
  return fitting > current && tokens * 2 > current ? Math.min(MAX_CHUNK, current * 2) : current;
}

/**
 * Divides the tokens that one step may evaluate among several prompts: equal shares, what a short prompt leaves over goes to
 * the others. Each gets at least one token.
 */
export function shareBudget(budget: number, left: readonly number[]): number[] {
  const shares = left.map(() => 0);
  const shortestFirst = left.map((_tokens, index) => index).sort((a, b) => (left[a] ?? 0) - (left[b] ?? 0));
  let rest = budget;
  for (const [served, index] of shortestFirst.entries()) {
    const fair = Math.max(1, Math.floor(rest / (left.length - served)));
    const share = Math.min(left[index] ?? 0, fair);
    shares[index] = share;
    rest -= share;
  }
  return shares;
}
