import type { QueenClient } from './queen-client.js';
import type { QueenControl } from './queen-control.js';
import { QueenSession } from './queen-session.js';
import { createQueenClient } from './with-queen.js';

/** How a queen stands at one look: the one that is known, another one in its place, or none that answers. */
export type QueenSign = 'same' | 'other' | 'none';

/** A queen for as long as a command needs one. One that is lost on the way is found again, or replaced. */
export class QueenConnection {
  /** Asks whichever queen answers at the address. */
  readonly client: QueenClient;
  readonly #control: QueenControl;
  #session: QueenSession | undefined;
  #reviving: Promise<boolean> | undefined;

  constructor(control: QueenControl) {
    this.#control = control;
    this.client = createQueenClient(control);
  }

  /** Makes sure of a queen, which is started where none runs, and of a lease on it. */
  async open(): Promise<QueenClient> {
    await this.settled();
    if (this.#session?.lost.aborted) await this.close();
    this.#session ??= await QueenSession.open(this.#control);
    return this.client;
  }

  /** The same with a queen that runs; `undefined` where none does. */
  async openIfRunning(): Promise<QueenClient | undefined> {
    this.#session ??= await QueenSession.openIfRunning(this.#control);
    return this.#session && this.client;
  }

  /**
   * Looks once whether a queen answers again, and takes a lease on it where the old one is lost. One that would have ended with its
   * clients is started anew, because nobody else will; an operator's is the operator's to start. False while none answers.
   * Throws when trying again cannot help, for example because another program has taken the port.
   */
  revive(): Promise<boolean> {
    this.#reviving ??= this.#revive().finally(() => {
      this.#reviving = undefined;
    });
    return this.#reviving;
  }

  /** Asks for a sign of life. */
  async look(timeoutMs: number): Promise<QueenSign> {
    const probe = await this.#control.probe(timeoutMs);
    if (probe.state !== 'up') return 'none';
    return this.#session === undefined || this.#session.isWith(probe.health) ? 'same' : 'other';
  }

  /** Resolves when no revival is under way: one that is comes to its end, so that no queen is started that nobody lets go. */
  async settled(): Promise<void> {
    await this.#reviving?.catch(() => undefined);
  }

  /** Gives the queen back. */
  async close(): Promise<void> {
    await this.settled();
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  async #revive(): Promise<boolean> {
    const previous = this.#session;
    const probe = await this.#control.probe();
    if (probe.state === 'silent') return false;
    // One that no longer listens and has not ended yet still holds what the next one needs.
    if (probe.state === 'absent' && previous?.isRunning) return false;
    if (probe.state === 'up' && previous && !previous.lost.aborted && previous.isWith(probe.health)) return true;
    const next =
      previous === undefined || previous.isEphemeral
        ? await QueenSession.open(this.#control)
        : await QueenSession.openIfRunning(this.#control);
    if (!next) return false;
    if (previous) next.replace(previous);
    this.#session = next;
    return true;
  }
}
