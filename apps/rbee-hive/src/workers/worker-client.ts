import { type Clock, callJson, httpTransport, type Secret, type Target, type Timeouts } from '@rbee/daemon-kit';
import { type Canary, type JsonOf, RbeeError, type ReadyStatus, workerRoutes } from '@rbee/protocol';
import { followLoadProgress, type LoadProgressOptions } from './load-progress.js';

/** What a worker says of its health. */
export type WorkerHealth = JsonOf<typeof workerRoutes.health>;

/** The hive's calls to one worker. */
export class WorkerClient {
  private readonly target: Target;

  constructor(
    address: { workerId: string; url: string; key: Secret | undefined },
    private readonly clock: Clock,
    private readonly timeouts: Pick<
      Timeouts,
      'health_call' | 'canary_answer' | 'shutdown_ack' | 'ready_poll' | 'connect'
    >,
  ) {
    const { workerId, url, key } = address;
    const transport = httpTransport({ name: workerId, url, connectTimeoutMs: timeouts.connect });
    this.target = { transport, clock, key };
  }

  /** Throws when the worker doesn't answer in time or calls itself unhealthy. */
  async checkHealth(timeoutMs = this.timeouts.health_call): Promise<WorkerHealth> {
    const health = await callJson(this.target, workerRoutes.health, { timeoutMs });
    if (health.status === 'healthy') return health;
    throw new RbeeError('INVALID_RESPONSE', 'the worker reports that it is not healthy');
  }

  /** Has the engine evaluate one token. Throws CONNECTION_TIMEOUT when it does not answer in time. */
  sendCanary(): Promise<Canary> {
    return callJson(this.target, workerRoutes.canary, { timeoutMs: this.timeouts.canary_answer });
  }

  ready(): Promise<ReadyStatus> {
    return callJson(this.target, workerRoutes.ready, { timeoutMs: this.timeouts.health_call });
  }

  /** Asks the worker to drain and exit; false when it refuses because it was used within `onlyIfIdleMs`. */
  async shutDown(onlyIfIdleMs?: number): Promise<boolean> {
    const body = onlyIfIdleMs === undefined ? {} : { only_if_idle_ms: onlyIfIdleMs };
    const timeoutMs = this.timeouts.shutdown_ack;
    return (await callJson(this.target, workerRoutes.shutdown, { body, timeoutMs })).draining;
  }

  followLoad(options: Pick<LoadProgressOptions, 'signal' | 'onProgress'>): Promise<void> {
    return followLoadProgress(this.target, { clock: this.clock, retryMs: this.timeouts.ready_poll, ...options });
  }

  close(): void {
    this.target.transport.close();
  }
}
