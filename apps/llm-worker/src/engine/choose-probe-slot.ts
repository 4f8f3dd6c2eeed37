/** What the choice of a slot for a probe looks at. */
export interface ProbeView {
  /** No job has it. */
  readonly free: boolean;
  /** Tokens that the slot's cache holds. */
  readonly cached: number;
  /** Grows with each use; 0 for a slot that was never used. */
  readonly lastUsed: number;
}

/** A slot for one more token, and whether its cache has to be thrown away for it. */
export interface ProbeChoice {
  readonly index: number;
  readonly clear: boolean;
}

/**
 * Where one token can be evaluated at the least loss, or `undefined` when no slot is free: in an empty slot; else behind the
 * least recently used cache that has room for it and can be cut back (`cuttable`); else in place of the least recently used one.
 */
export function chooseProbeSlot(
  slots: readonly ProbeView[],
  { contextSize, cuttable }: { readonly contextSize: number; readonly cuttable: boolean },
): ProbeChoice | undefined {
  const byAge = slots
    .map((slot, index) => ({ ...slot, index }))
    .filter(({ free }) => free)
    .sort((a, b) => a.lastUsed - b.lastUsed);
  const empty = byAge.find(({ cached }) => cached === 0);
  const roomy = cuttable ? byAge.find(({ cached }) => cached < contextSize - 1) : undefined;
  const harmless = empty ?? roomy;
  if (harmless) return { index: harmless.index, clear: false };
  const [oldest] = byAge;
  return oldest && { index: oldest.index, clear: true };
}
