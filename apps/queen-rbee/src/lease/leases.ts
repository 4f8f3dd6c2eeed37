import { randomUUID } from 'node:crypto';
import type { Clock, Logger } from '@rbee/daemon-kit';
import { shuttingDown } from '../task/shutting-down.js';

export interface LeasesOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the queen ends with its last client. */
  readonly ephemeral: boolean;
  /** How long it stays after its last client and task. */
  readonly keepAliveMs: number;
  /** How long it waits for its first client. */
  readonly startGraceMs: number;
  readonly tasksRunning: () => number;
  /** Told once, when nothing is left to do. */
  readonly onUnused: () => void;
}

export interface Lease {
  readonly id: string;
  /** Settles with the reason when the lease is over. */
  readonly over: Promise<string>;
}

/** Who uses this queen. An ephemeral queen is told to end when the last lease and the last task are over. */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #held = new Map<string, (reason: string) => void>();
  #cancelTimer: (() => void) | undefined;
  #awaitingFirst = true;
  #ending = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    if (!options.ephemeral) return;
    this.#cancelTimer = options.clock.after(options.startGraceMs, () => {
      this.#awaitingFirst = false;
      this.reconsider();
    });
  }

  /** Throws CONNECTION_TIMEOUT (503) once the queen is ending. */
  open(): Lease {
    if (this.#ending) throw shuttingDown();
    this.#cancelTimer?.();
    this.#awaitingFirst = false;
    const id = `lease-${randomUUID()}`;
    const over = new Promise<string>((resolve) => {
      this.#held.set(id, resolve);
    });
    this.#options.log.debug({ lease_id: id, leases: this.#held.size }, 'a client has come');
    return { id, over };
  }

  /** Ends a lease; unknown ids are over already. Returns whether the queen is ending now. */
  release(id: string, reason: string): boolean {
    const settle = this.#held.get(id);
    if (settle) {
      this.#held.delete(id);
      settle(reason);
      this.#options.log.debug({ lease_id: id, leases: this.#held.size, reason }, 'a client has gone');
      this.reconsider();
    }
    return this.#ending;
  }

  /** Called when something may have been the last thing to do. */
  reconsider(): void {
    const { clock, ephemeral, keepAliveMs } = this.#options;
    if (!ephemeral || this.#ending || this.#awaitingFirst || !this.#unused()) return;
    this.#cancelTimer?.();
    if (keepAliveMs === 0) this.#end();
    else this.#cancelTimer = clock.after(keepAliveMs, () => this.#end());
  }

  /** Takes no further lease. */
  refuse(): void {
    this.#ending = true;
    this.#cancelTimer?.();
  }

  /** Ends all leases. */
  close(reason: string): void {
    this.refuse();
    for (const [id] of this.#held) this.release(id, reason);
  }

  #unused(): boolean {
    return this.#held.size === 0 && this.#options.tasksRunning() === 0;
  }

  #end(): void {
    if (this.#ending || !this.#unused()) return;
    this.refuse();
    this.#options.onUnused();
  }
}
