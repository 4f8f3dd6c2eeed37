import type { Clock, Logger } from '@rbee/daemon-kit';
import type { WorkerHealth } from './worker-client.js';

const MAX_FAILURES = 3;

/**
 * A check that took this much longer than its limit was not made: the hive itself was stopped, or its machine slept, and no
 * answer could be read in time.
 */
const LATE_MS = 1_000;

/** Whether something that may take `limitMs` failed only because this process stood still meanwhile. */
export function wasLate(clock: Clock, begun: number, limitMs: number): boolean {
  return clock.monotonic() - begun > limitMs + LATE_MS;
}

/** Counts the failed checks of one worker in a row. One check runs at a time. */
export class HealthCheck {
  /** What the worker said last. */
  latest: WorkerHealth | undefined;
  private running = false;
  private failures = 0;

  constructor(
    private readonly clock: Clock,
    private readonly log: Logger,
    private readonly limitMs: number,
    private readonly probe: () => Promise<WorkerHealth>,
  ) {}

  get failuresInARow(): number {
    return this.failures;
  }

  /** Whether the worker has to go. */
  get exhausted(): boolean {
    return this.failures >= MAX_FAILURES;
  }

  /** The worker has shown in another way that it lives. */
  clear(): void {
    this.failures = 0;
  }

  /** Runs a check unless one is running; resolves with its outcome. */
  async run(): Promise<'passed' | 'failed' | 'skipped'> {
    if (this.running) return 'skipped';
    this.running = true;
    const begun = this.clock.monotonic();
    try {
      this.latest = await this.probe();
      this.failures = 0;
      return 'passed';
    } catch (error) {
      if (wasLate(this.clock, begun, this.limitMs)) return 'skipped';
      this.failures++;
      this.log.warn({ error, failed_health_checks: this.failures }, 'health check failed');
      return 'failed';
    } finally {
      this.running = false;
    }
  }
}
