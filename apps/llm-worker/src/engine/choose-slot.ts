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

/**
 * The index of the free slot that makes a prompt cheapest, or `undefined` when none is free: the one with the longest common
 * prefix, unless that would throw away a long conversation for a few tokens that every chat begins with. What is thrown away
 * counts less the longer a slot was not used. Ties go to the least recently used slot.
 */
export function chooseSlot(promptTokens: number, slots: readonly SlotView[]): number | undefined {
  const free = slots.map((slot, index) => ({ ...slot, index })).filter((slot) => slot.free);
  const byAge = [...free].sort((a, b) => b.lastUsed - a.lastUsed || b.index - a.index);
  let best: { index: number; cost: number } | undefined;
  for (const [rank, slot] of byAge.entries()) {
    const lost = slot.cached - slot.prefix;
    const cost = promptTokens - slot.prefix + (lost * LOSS_OF_LATEST) / 2 ** rank;
    if (!best || cost <= best.cost) best = { index: slot.index, cost };
  }
  return best?.index;
}
