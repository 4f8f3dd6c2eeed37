import type { Clock } from '@rbee/daemon-kit';

export interface StallWatchOptions {
  readonly clock: Clock;
  /** Longest time to the first token. */
  readonly firstMs: number;
  /** Longest time from one token to the next. */
  readonly stallMs: number;
  /** Told once, with the limit that was passed. */
  readonly onStall: (limitMs: number) => void;
}

/** Notices when tokens stay away. A token costs one look at the clock; the timer is set again only when it runs out. */
export class StallWatch {
  readonly #options: StallWatchOptions;
  #limitMs: number;
  #since: number;
  #paused = false;
  #cancelTimer: () => void;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#limitMs = options.firstMs;
    this.#since = options.clock.monotonic();
    this.#cancelTimer = options.clock.after(this.#limitMs, () => this.#check());
  }

  /** A token has come. */
  token(): void {
    const { clock, stallMs } = this.#options;
    this.#since = clock.monotonic();
    if (this.#limitMs === stallMs) return;
    this.#limitMs = stallMs;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(stallMs, () => this.#check());
  }

  /** Time that passes while the reader is behind is not the worker's. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#since = this.#options.clock.monotonic();
  }

  stop(): void {
    this.#cancelTimer();
  }

  #check(): void {
    const { clock, onStall } = this.#options;
    const remaining = this.#paused ? this.#limitMs : this.#since + this.#limitMs - clock.monotonic();
    if (remaining <= 0) onStall(this.#limitMs);
    else this.#cancelTimer = clock.after(remaining, () => this.#check());
  }
}
