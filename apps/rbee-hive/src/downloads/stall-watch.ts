import type { Clock } from '@rbee/daemon-kit';

/** Calls `onStall` once when nothing has come for a while. */
export class StallWatch {
  private lastAt: number;
  private waiting = true;
  private stopped = false;
  private limitMs: number;
  private cancel: () => void;

  /** `firstMs`: how long it may take until the first sign of life; `stallMs`: until each further one. */
  constructor(
    private readonly clock: Clock,
    private readonly options: { firstMs: number; stallMs: number; onStall: () => void },
  ) {
    this.lastAt = clock.monotonic();
    this.limitMs = options.firstMs;
    this.cancel = clock.after(this.limitMs, () => this.look());
  }

  /** Something has come. */
  touch(): void {
    if (this.stopped) return;
    this.lastAt = this.clock.monotonic();
    if (this.waiting && this.limitMs === this.options.stallMs) return;
    this.limitMs = this.options.stallMs;
    this.waiting = true;
    this.cancel();
    this.cancel = this.clock.after(this.limitMs, () => this.look());
  }

  /** Nothing is expected to come until something does. */
  pause(): void {
    this.waiting = false;
    this.cancel();
  }

  stop(): void {
    this.stopped = true;
    this.cancel();
  }

  /** The timer is not set anew at each touch, of which there may be thousands a second. */
  private look(): void {
    const remainingMs = this.lastAt + this.limitMs - this.clock.monotonic();
    if (remainingMs <= 0) this.options.onStall();
    else this.cancel = this.clock.after(remainingMs, () => this.look());
  }
}
