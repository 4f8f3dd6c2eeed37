import type { Clock } from '../clock.js';

interface Timer {
  at: number;
  period: number | undefined;
  task: () => void;
}

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now: number;
  #timers = new Set<Timer>();

  constructor(startMs = Date.UTC(2030, 0, 1)) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#add({ at: this.#now + delayMs, period: undefined, task });
  }

  every(periodMs: number, task: () => void): () => void {
    return this.#add({ at: this.#now + periodMs, period: periodMs, task });
  }

  /** Timers that have not run and were not cancelled; a test that ends with any has a leak. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time forward, runs what falls due in order, and lets promises settle before the first and after each. */
  async advance(durationMs: number): Promise<void> {
    const end = this.#now + durationMs;
    await settle();
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      if (next.period === undefined) this.#timers.delete(next);
      else next.at += next.period;
      next.task();
      await settle();
    }
    this.#now = end;
    await settle();
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
}

/** Lets everything that is ready to run do so: promise callbacks and one turn of the event loop. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
