import type { RbeeError } from '@rbee/protocol';

/** More callers than these at once are not told apart: the one that failed longest ago is forgotten. */
const MAX_CLIENTS = 10_000;
const WINDOW_MS = 1000;
const CODES_OF_BAD_INPUT = /^(?:INVALID|UNSUPPORTED)_/;

/** Whether an error says that the request itself was bad. A missing key, a missing model or a full queue does not. */
export function isBadInput({ status, code }: RbeeError): boolean {
  return status === 413 || (status === 400 && CODES_OF_BAD_INPUT.test(code));
}

/**
 * Counts the bad requests of each client within a sliding second. Only failing answers are counted and limited: one broken
 * program behind an address that it shares with others, as on loopback or behind a tunnel, does not lock them out.
 */
export class FailureLimit {
  /** The times of the latest failures of each client, oldest first; the client that failed last is at the end. */
  readonly #failures = new Map<string, number[]>();

  constructor(readonly perSecond: number) {}

  /** Notes a failure at a time of a steady clock. `over`: the client has had more of them than are allowed in a second. */
  note(client: string, nowMs: number): 'counted' | 'over' {
    this.#forgetOld(nowMs);
    const times = (this.#failures.get(client) ?? []).filter((time) => nowMs - time < WINDOW_MS);
    times.push(nowMs);
    const over = times.length > this.perSecond;
    // As many as are needed to see that the next one is over as well.
    if (over) times.shift();
    this.#failures.delete(client);
    this.#failures.set(client, times);
    if (this.#failures.size > MAX_CLIENTS) this.#forgetFirst();
    return over ? 'over' : 'counted';
  }

  /** How many clients are remembered. */
  get size(): number {
    return this.#failures.size;
  }

  #forgetOld(nowMs: number): void {
    for (const [client, times] of this.#failures) {
      if (nowMs - (times.at(-1) ?? 0) < WINDOW_MS) return;
      this.#failures.delete(client);
    }
  }

  #forgetFirst(): void {
    const [first] = this.#failures.keys();
    if (first !== undefined) this.#failures.delete(first);
  }
}
