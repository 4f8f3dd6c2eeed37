import type { Clock } from '@rbee/daemon-kit/client';

/** What passes at once when nothing has passed for a while, in seconds; also how finely a limit is kept. */
const BURST_S = 0.1;

/** Lets bytes pass at a limited speed, which may change at any time: a token bucket. For one taker at a time. */
export class RateLimit {
  private tokens = 0;
  private filledAt: number;
  private wake: () => void = () => undefined;

  /** `bytesPerSecond` left out: no limit. */
  constructor(
    private readonly clock: Clock,
    private bytesPerSecond?: number | undefined,
  ) {
    this.filledAt = clock.monotonic();
  }

  /** Changes the limit, also for a taker that waits. */
  set(bytesPerSecond: number | undefined): void {
    this.refill();
    this.bytesPerSecond = bytesPerSecond;
    this.wake();
  }

  /** How many of the wanted bytes may pass now, at least one; waits until some may. Rejects with the signal's reason. */
  async take(wanted: number, signal: AbortSignal): Promise<number> {
    while (this.bytesPerSecond !== undefined) {
      signal.throwIfAborted();
      this.refill();
      const portion = Math.min(wanted, Math.max(1, Math.floor(this.bytesPerSecond * BURST_S)));
      if (this.tokens >= portion) {
        this.tokens -= portion;
        return portion;
      }
      await this.pause(((portion - this.tokens) / this.bytesPerSecond) * 1000, signal);
    }
    return wanted;
  }

  private refill(): void {
    const now = this.clock.monotonic();
    const rate = this.bytesPerSecond ?? 0;
    const most = Math.max(1, rate * BURST_S);
    this.tokens = Math.min(most, this.tokens + ((now - this.filledAt) / 1000) * rate);
    this.filledAt = now;
  }

  private pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      // A timer of whole milliseconds may come a fraction early, and would come again and again.
      const cancel = this.clock.after(Math.ceil(ms), end);
      signal.addEventListener('abort', end);
      this.wake = end;
    });
  }
}
