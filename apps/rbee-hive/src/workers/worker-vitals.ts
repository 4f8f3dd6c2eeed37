import type { Clock, Logger, Timeouts } from '@rbee/daemon-kit';
import { CanaryCheck, type EngineFault } from './canary-check.js';
import { HealthCheck } from './health-check.js';
import type { WorkerClient } from './worker-client.js';

export interface WorkerVitalsOptions {
  clock: Clock;
  log: Logger;
  timeouts: Pick<Timeouts, 'health_call' | 'canary_answer'>;
  client: () => WorkerClient;
  /** Aborted when the worker has gone. */
  gone: AbortSignal;
  /** Whether no job runs, as far as the worker has told. */
  isIdle: () => boolean;
  /** The number of failed health checks in a row has changed. */
  onFailures: (inARow: number) => void;
  /** Too many health checks have failed in a row. */
  onUnhealthy: (reason: string) => void;
  onFault: (fault: EngineFault) => void;
}

/** The signs of life of one worker: whether its server answers, and whether its engine gets on. */
export class WorkerVitals {
  private readonly health: HealthCheck;
  private readonly canary: CanaryCheck;
  private shown = 0;

  constructor(private readonly options: WorkerVitalsOptions) {
    const { clock, log, timeouts, client, gone, isIdle } = options;
    this.health = new HealthCheck(clock, log, timeouts.health_call, () => client().checkHealth());
    this.canary = new CanaryCheck(clock, timeouts, client, gone, isIdle);
  }

  /** Asks for its health; true when it is well. What it says of a step of its engine is looked at as well. */
  async checkHealth(): Promise<boolean> {
    const outcome = await this.health.run();
    if (outcome === 'skipped' || this.options.gone.aborted) return false;
    this.tell();
    const { failuresInARow, exhausted, latest } = this.health;
    if (exhausted) this.options.onUnhealthy(`${failuresInARow} health checks failed in a row`);
    if (outcome === 'failed') return false;
    if (latest !== undefined) this.take(await this.canary.examine(latest));
    return true;
  }

  /** Asks its engine for a sign of life, which a healthy server is not. */
  async checkEngine(): Promise<void> {
    this.take(await this.canary.run());
  }

  /** What the worker says by itself is worth as much as a good health check. */
  noteAlive(): void {
    this.health.clear();
    this.tell();
  }

  private take(fault: EngineFault | undefined): void {
    if (fault !== undefined && !this.options.gone.aborted) this.options.onFault(fault);
  }

  private tell(): void {
    const { failuresInARow } = this.health;
    if (failuresInARow === this.shown) return;
    this.shown = failuresInARow;
    this.options.onFailures(failuresInARow);
  }
}
