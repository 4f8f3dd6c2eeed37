import type { Clock } from '@rbee/daemon-kit';
import type { WorkerUsage } from '../placement/snapshot.js';

/** One taken slot; giving it back twice is harmless. */
export interface SlotLease {
  readonly workerId: string;
  release(): void;
}

interface Count {
  inFlight: number;
  /** Mean duration of this worker's jobs, recent ones counting most. */
  meanMs: number | undefined;
  lastEndedMs: number | undefined;
}

const UNUSED: WorkerUsage = { inFlight: 0, lastEndedMs: undefined };

/** Below this number of workers nothing is worth forgetting. */
const FEW_WORKERS = 64;

/** The queen's own count of the jobs that run on each worker, and how long they take there. */
export class SlotCounts {
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();
  #forgetAbove = FEW_WORKERS;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The figures as they are; they change with the count. */
  usage(workerId: string): WorkerUsage {
    return this.#counts.get(workerId) ?? UNUSED;
  }

  meanMs(workerId: string): number | undefined {
    return this.#counts.get(workerId)?.meanMs;
  }

  lend(workerId: string, onRelease: () => void): SlotLease {
    let count = this.#counts.get(workerId);
    if (!count) {
      count = { inFlight: 0, meanMs: undefined, lastEndedMs: undefined };
      this.#counts.set(workerId, count);
    }
    const lent = count;
    const startedAt = this.#clock.monotonic();
    lent.inFlight++;
    let released = false;
    return {
      workerId,
      release: () => {
        if (released) return;
        released = true;
        lent.inFlight--;
        lent.lastEndedMs = this.#clock.monotonic();
        const durationMs = lent.lastEndedMs - startedAt;
        lent.meanMs = lent.meanMs === undefined ? durationMs : lent.meanMs * 0.8 + durationMs * 0.2;
        onRelease();
      },
    };
  }

  /** Forgets workers without jobs that are no more, once there are so many counts that it is worth a look. */
  forgetGone(isThere: (workerId: string) => boolean): void {
    if (this.#counts.size <= this.#forgetAbove) return;
    for (const [id, { inFlight }] of this.#counts) if (inFlight === 0 && !isThere(id)) this.#counts.delete(id);
    this.#forgetAbove = Math.max(FEW_WORKERS, this.#counts.size * 2);
  }
}
