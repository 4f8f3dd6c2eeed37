/**
 * Finds the first place where one of several stop strings is complete in a text that arrives in pieces. How the text is
 * cut makes no difference: each string is followed by its own automaton, one step per UTF-16 unit.
 *
 * The first string to be complete wins; of several that are complete at the same place, the longest.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  readonly #fallbacks: readonly Int32Array[];
  readonly #matchedUnits: Int32Array;
  #matched: string | undefined;

  /** Strings that are no valid Unicode text can't occur in generated text, so they are left out. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0 && Buffer.from(stop, 'utf8').toString('utf8') === stop);
    this.#fallbacks = this.#stops.map(toFallbacks);
    this.#matchedUnits = new Int32Array(this.#stops.length);
  }

  /** Whether there is anything to look for. */
  get active(): boolean {
    return this.#stops.length > 0;
  }

  /** The string that ended the text, once `scan` has found one. */
  get matched(): string | undefined {
    return this.#matched;
  }

  /** How many units at the end of the text so far could be the beginning of a stop string. */
  get held(): number {
    let held = 0;
    for (const units of this.#matchedUnits) if (units > held) held = units;
    return held;
  }

  /** Takes the next piece; returns the offset in it just behind the matched stop string, or -1. */
  scan(piece: string): number {
    for (let index = 0; index < piece.length; index++) {
      if (this.#step(piece.charCodeAt(index))) return index + 1;
    }
    return -1;
  }

  #step(unit: number): boolean {
    for (let which = 0; which < this.#stops.length; which++) {
      const stop = this.#stops[which] as string;
      const fallbacks = this.#fallbacks[which] as Int32Array;
      let units = this.#matchedUnits[which] as number;
      while (units > 0 && stop.charCodeAt(units) !== unit) units = fallbacks[units - 1] as number;
      if (stop.charCodeAt(units) === unit) units++;
      this.#matchedUnits[which] = units;
      if (units === stop.length && stop.length > (this.#matched?.length ?? 0)) this.#matched = stop;
    }
    return this.#matched !== undefined;
  }
}

/** For each prefix of a string, the length of its longest proper prefix that is also its end. */
function toFallbacks(stop: string): Int32Array {
  const fallbacks = new Int32Array(stop.length);
  for (let index = 1, units = 0; index < stop.length; index++) {
    while (units > 0 && stop.charCodeAt(units) !== stop.charCodeAt(index)) units = fallbacks[units - 1] as number;
    if (stop.charCodeAt(units) === stop.charCodeAt(index)) units++;
    fallbacks[index] = units;
  }
  return fallbacks;
}
