/** What the choice of a slot looks at. */
export interface SlotView {
  readonly free: boolean;
  /** Tokens that the slot's cache holds. */
  readonly cached: number;
  /** How many of the first tokens of the prompt are in the cache already. */
  readonly prefix: number;
  /** Grows with each use; 0 for a slot that was never used. */
  readonly lastUsed: number;
}

/** Share of a token's evaluation that losing it from the most recently used cache is expected to cost later. */
const LOSS_OF_LATEST = 0.25;

/** From this share of a prompt on, a common prefix decides by itself: the prompt goes on from it, or repeats it. */
const OWN_PREFIX_SHARE = 0.5;

/**
 * The index of the free slot that makes a prompt cheapest, or `undefined` when none is free: the one with the longest common
 * prefix. A short prefix, such as the few tokens that every chat begins with, does not throw away a long conversation while
 * another slot costs less; what would be thrown away counts less the longer a slot was not used. Ties go to the least
 * recently used slot.
 */
export function chooseSlot(promptTokens: number, slots: readonly SlotView[]): number | undefined {
  const free = slots.map((slot, index) => ({ ...slot, index })).filter((slot) => slot.free);
  const longest = Math.max(...free.map((slot) => slot.prefix));
  const byAge = [...free].sort((a, b) => b.lastUsed - a.lastUsed || b.index - a.index);
  if (longest >= promptTokens * OWN_PREFIX_SHARE) return byAge.findLast((slot) => slot.prefix === longest)?.index;
  let best: { index: number; cost: number } | undefined;
  for (const [rank, slot] of byAge.entries()) {
    const lost = slot.cached - slot.prefix;
    const cost = promptTokens - slot.prefix + (lost * LOSS_OF_LATEST) / 2 ** rank;
    if (!best || cost <= best.cost) best = { index: slot.index, cost };
  }
  return best?.index;
}
