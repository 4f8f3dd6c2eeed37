import type { Logger } from '@rbee/daemon-kit';

const MAX_FAILURES = 3;

/** Counts the failed checks of one worker in a row. One check runs at a time. */
export class HealthCheck {
  private running = false;
  private failures = 0;

  constructor(
    private readonly log: Logger,
    private readonly probe: () => Promise<void>,
  ) {}

  get failuresInARow(): number {
    return this.failures;
  }

  /** Whether the worker has to go. */
  get exhausted(): boolean {
    return this.failures >= MAX_FAILURES;
  }

  /** Runs a check unless one is running; resolves with its outcome. */
  async run(): Promise<'passed' | 'failed' | 'skipped'> {
    if (this.running) return 'skipped';
    this.running = true;
    try {
      await this.probe();
      this.failures = 0;
      return 'passed';
    } catch (error) {
      this.failures++;
      this.log.warn({ error, failed_health_checks: this.failures }, 'health check failed');
      return 'failed';
    } finally {
      this.running = false;
    }
  }
}
