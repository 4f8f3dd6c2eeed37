import {
  type Clock,
  callJson,
  httpTransport,
  type Logger,
  type Secret,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import { type Heartbeat, hiveRoutes, isRbeeError, type ReadyCallback } from '@rbee/protocol';

/** What the hive is told; read anew for each message. */
export interface WorkerReport {
  callback(): Omit<ReadyCallback, 'worker_id'>;
  heartbeat(): Omit<Heartbeat, 'worker_id' | 'timestamp'>;
}

export interface HiveLinkOptions {
  readonly url: string;
  readonly workerId: string;
  /** This worker's own key, read for each message: another one may take its place. */
  readonly key: Secret | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Pick<Timeouts, 'heartbeat' | 'connect'>;
  readonly report: WorkerReport;
}

const FIRST_RETRY_MS = 2000;
/** A new hive in the place of a lost one hears of this worker no later than this. */
const LAST_RETRY_MS = 5000;
/** A change of the slots is told this much later: a report must not compete with the first token of the job that it is about. */
const SETTLE_MS = 20;

/**
 * Keeps the worker's hive informed: a callback until it is acknowledged, then heartbeats, regularly and at once upon a change.
 * A hive that does not know the worker, or is gone, gets the callback again. Messages go out one at a time; changes meanwhile
 * are told in the next one.
 */
export class HiveLink {
  readonly #options: HiveLinkOptions;
  readonly #target: Target;
  readonly #stopBeat: () => void;
  #acknowledged = false;
  #dirty = false;
  #sending: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;
  #cancelSettle: (() => void) | undefined;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;

  constructor(options: HiveLinkOptions) {
    const { clock, url, timeouts } = options;
    this.#options = options;
    const transport = httpTransport({ name: 'rbee-hive', url, connectTimeoutMs: timeouts.connect });
    this.#target = {
      ...{ transport, clock },
      get key() {
        return options.key;
      },
    };
    this.#stopBeat = clock.every(timeouts.heartbeat, () => this.notify());
  }

  /** Whether the hive knows the latest callback. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  /** Sends the callback (again), with the state that the worker has now. Resolves after the first attempt. */
  async call(): Promise<void> {
    this.#acknowledged = false;
    this.notify();
    await this.#sending;
  }

  /** Something that the hive should know has changed. */
  notify(): void {
    if (this.#closed) return;
    this.#dirty = true;
    this.#sending ??= this.#sendAll();
  }

  /** The slots have changed; several changes in a row are told once. */
  notifySoon(): void {
    if (this.#closed || this.#cancelSettle) return;
    this.#cancelSettle = this.#options.clock.after(SETTLE_MS, () => {
      this.#cancelSettle = undefined;
      this.notify();
    });
  }

  /** Tells the last state, if the hive can be reached and answers within `limitMs`, and stops. */
  async close(limitMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#stopBeat();
    this.notify();
    this.#closed = true;
    this.#cancelSettle?.();
    this.#cancelRetry?.();
    const cancelLimit = clock.after(limitMs, () => {
      this.#dirty = false;
      this.#target.transport.close();
    });
    await this.#sending;
    cancelLimit();
    this.#cancelRetry?.();
    this.#target.transport.close();
  }

  async #sendAll(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      await this.#send();
    }
    this.#sending = undefined;
  }

  async #send(): Promise<void> {
    const { workerId, clock, report, log } = this.#options;
    const known = this.#acknowledged;
    const timeoutMs = this.#options.timeouts.connect;
    try {
      if (known) {
        const body = { worker_id: workerId, timestamp: new Date(clock.now()).toISOString(), ...report.heartbeat() };
        await callJson(this.#target, hiveRoutes.heartbeat, { body, timeoutMs });
      } else {
        // Before the answer: a state that changes meanwhile may ask for another callback.
        this.#acknowledged = true;
        const body = { worker_id: workerId, ...report.callback() };
        await callJson(this.#target, hiveRoutes.workerReady, { body, timeoutMs });
      }
      this.#retryMs = FIRST_RETRY_MS;
      this.#cancelRetry?.();
    } catch (error) {
      this.#acknowledged = false;
      const unknown = known && isRbeeError(error) && error.code === 'WORKER_NOT_FOUND';
      log.warn({ error, message: known ? 'heartbeat' : 'callback' }, 'the hive did not take the report of this worker');
      if (unknown) this.#dirty = true;
      else this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#closed) return;
    this.#cancelRetry?.();
    this.#cancelRetry = this.#options.clock.after(this.#retryMs, () => this.notify());
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }
}
