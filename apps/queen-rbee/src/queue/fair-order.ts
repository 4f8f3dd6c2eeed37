import type { Priority } from '@rbee/protocol';
import { type Claim, ClaimTally } from './claim.js';

/** A waiting task, as far as its turn depends on it. */
export interface Turn {
  readonly client: string;
  readonly priority: Priority;
  /** Place in the order in which all tasks came. */
  readonly ticket: number;
  /** Since when it waits, on the steady clock. */
  readonly sinceMs: number;
  /** Whether it had its turn before and has lost what it got. */
  readonly again: boolean;
  readonly claim: Claim;
}

export interface FairnessFacts {
  readonly nowMs: number;
  /** After this wait a batch task counts as interactive. */
  readonly ageingMs: number;
  /** When each client was last served, as a number that grows from one service to the next; missing: never. */
  readonly lastServed: ReadonlyMap<string, number>;
}

/**
 * The order in which waiting tasks get what becomes free. Interactive ones come before batch ones. Among them clients take
 * turns: whoever was served longest ago comes first, and nobody's second task comes before the first of another client, so that a
 * client with many tasks delays one with a single task by one task at most. A task that has to be served again comes
 * before its equals: its turn was counted already.
 */
export function fairOrder<T extends Turn>(turns: readonly T[], facts: FairnessFacts): T[] {
  const { nowMs, ageingMs, lastServed } = facts;
  const ranked = turns.map((turn) => ({
    turn,
    isBatch: turn.priority === 'batch' && nowMs - turn.sinceMs < ageingMs,
    rank: -1,
    served: lastServed.get(turn.client) ?? -1,
  }));
  ranked.sort((a, b) => Number(a.isBatch) - Number(b.isBatch) || a.turn.ticket - b.turn.ticket);
  // How many tasks of the same client and kind come before it, of those that it would have to share with.
  const tallies = { batch: new Map<string, ClaimTally>(), interactive: new Map<string, ClaimTally>() };
  for (const each of ranked) {
    const { turn, isBatch } = each;
    if (turn.again) continue;
    const ofKind = isBatch ? tallies.batch : tallies.interactive;
    let tally = ofKind.get(turn.client);
    if (!tally) {
      tally = new ClaimTally();
      ofKind.set(turn.client, tally);
    }
    each.rank = tally.rivalsOf(turn.claim);
    tally.add(turn.claim);
  }
  ranked.sort(
    (a, b) =>
      Number(a.isBatch) - Number(b.isBatch) || a.rank - b.rank || a.served - b.served || a.turn.ticket - b.turn.ticket,
  );
  return ranked.map(({ turn }) => turn);
}

/** How many clients are remembered; those that were served longest ago are forgotten first, and then count as new. */
const MOST_CLIENTS = 1_024;

/** Remembers when each client was last served. */
export class LastServed {
  readonly #when = new Map<string, number>();
  #count = 0;

  get all(): ReadonlyMap<string, number> {
    return this.#when;
  }

  note(client: string): void {
    // Deleted first, so that the oldest service stays in front.
    this.#when.delete(client);
    this.#when.set(client, this.#count++);
    const [oldest] = this.#when.keys();
    if (this.#when.size > MOST_CLIENTS && oldest !== undefined) this.#when.delete(oldest);
  }
}
