import type { Clock } from '@rbee/daemon-kit';

/** A refusal by a hair must not lead to a busy loop of requests. */
const MIN_WAIT_MS = 50;

/** Runs once a worker has had nothing to do for the whole idle time, counted from the end of its last job. */
export class IdleTimer {
  private cancel: (() => void) | undefined;
  private since: number;

  constructor(
    private readonly clock: Clock,
    private readonly idleMs: number,
    private readonly onIdle: () => void,
  ) {
    this.since = clock.now();
  }

  /** When work ended last, in milliseconds since the epoch. */
  get idleSince(): number {
    return this.since;
  }

  /** Work ended at this moment, as a timestamp or now; an unreadable or future one counts as now. */
  workEnded(at?: string): void {
    const now = this.clock.now();
    const ended = at === undefined ? now : Date.parse(at);
    this.since = Math.max(this.since, Number.isFinite(ended) ? Math.min(ended, now) : now);
  }

  /** Goes on from where another one was. */
  continueFrom(at: string): void {
    const ended = Date.parse(at);
    if (Number.isFinite(ended)) this.since = Math.min(ended, this.clock.now());
  }

  /** Nothing runs. */
  start(): void {
    this.startIn(Math.max(MIN_WAIT_MS, this.since + this.idleMs - this.clock.now()));
  }

  /** Looks again later, when nothing is known about the worker now. */
  startIn(delayMs: number): void {
    this.stop();
    this.cancel = this.clock.after(delayMs, () => {
      this.cancel = undefined;
      this.onIdle();
    });
  }

  /** Something runs, or the worker ends. */
  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
  }
}
