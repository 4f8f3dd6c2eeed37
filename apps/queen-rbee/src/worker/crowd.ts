import type { Narrate } from '@rbee/daemon-kit';
import type { Narration, ProgressEvent } from '@rbee/protocol';

/** Somebody who wants to hear how a piece of work goes on. */
export interface Listener {
  /** Says something of the queen's own, in the listener's name. */
  readonly narrate: Narrate;
  /** Passes on what another process said. */
  readonly pass: (event: Narration | ProgressEvent) => void;
  /** When its patience ends, milliseconds since the epoch; left out: never. */
  readonly deadline?: number | undefined;
}

/** All who wait for one piece of work: whatever is said reaches each of them. */
export class Crowd implements Listener {
  readonly #members = new Set<Listener>();
  #progress: ProgressEvent | undefined;

  get size(): number {
    return this.#members.size;
  }

  /** The latest deadline of all; `undefined` while there is one without, or nobody at all. */
  get deadline(): number | undefined {
    let latest: number | undefined;
    for (const { deadline } of this.#members) {
      if (deadline === undefined) return undefined;
      latest = Math.max(latest ?? 0, deadline);
    }
    return latest;
  }

  /** Adds a member, who first hears how far the work has come; the returned function lets the member go. */
  add(member: Listener): () => void {
    this.#members.add(member);
    if (this.#progress) member.pass(this.#progress);
    return () => this.#members.delete(member);
  }

  readonly narrate: Narrate = (spoken) => {
    for (const member of this.#members) member.narrate(spoken);
  };

  readonly pass = (event: Narration | ProgressEvent): void => {
    if (event.type === 'progress') this.#progress = event;
    for (const member of this.#members) member.pass(event);
  };
}
