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
    private readonly options: { firstMs: number; stallMs: number; onStall: (waitedMs: number) => void },
  ) {
    this.lastAt = clock.monotonic();
    this.limitMs = options.firstMs;
    this.cancel = clock.after(this.limitMs, () => this.look());
  }

  /** Something has come. */
  touch(): void {
    if (this.stopped) return;
    const { stallMs } = this.options;
    if (!this.waiting || this.limitMs !== stallMs) this.allow(stallMs);
    else this.lastAt = this.clock.monotonic();
  }

  /** The next sign of life may take this long, those after it as long as ever. */
  allow(ms: number): void {
    if (this.stopped) return;
    this.lastAt = this.clock.monotonic();
    this.limitMs = ms;
    this.waiting = true;
    this.cancel();
    this.cancel = this.clock.after(ms, () => this.look());
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
    if (remainingMs <= 0) this.options.onStall(this.limitMs);
    else this.cancel = this.clock.after(remainingMs, () => this.look());
  }
}
