import type { Clock, Logger, Narrate, Timeouts } from '@rbee/daemon-kit';
import {
  type Heartbeat,
  type HiveEvent,
  type Model,
  RbeeError,
  type ReadyCallback,
  type Worker as WorkerView,
} from '@rbee/protocol';
import type { RunFiles } from './run-files.js';
import { Worker, type WorkerContext } from './worker.js';

export interface WorkerPoolOptions {
  clock: Clock;
  log: Logger;
  timeouts: Timeouts;
  narrate: Narrate;
  publish: (event: HiveEvent) => void;
  runFiles: RunFiles;
  /** A worker has told what its model takes. */
  onMemory: WorkerContext['onMemory'];
}

/** The workers of this machine: finds, watches and ends them. In memory only. */
export class WorkerPool {
  private readonly workers = new Map<string, Worker>();
  private readonly ports = new Map<string, number>();
  /** Timers that forget failed workers. */
  private readonly forgetting = new Map<string, () => void>();

  constructor(private readonly options: WorkerPoolOptions) {}

  /** Every worker but the failed ones. */
  get present(): Worker[] {
    return [...this.workers.values()].filter((worker) => !worker.failed);
  }

  /** Ports that workers have or are about to bind. */
  get takenPorts(): ReadonlySet<number> {
    return new Set(this.ports.values());
  }

  /** What a new worker of this pool is built on. */
  get context(): WorkerContext {
    const { clock, log, timeouts, publish, onMemory } = this.options;
    return { clock, log, timeouts, publish, onMemory, onLeft: (worker, how) => this.onLeft(worker, how) };
  }

  list(): WorkerView[] {
    return this.present.map((worker) => worker.toView());
  }

  find(workerId: string): Worker | undefined {
    return this.workers.get(workerId);
  }

  /** Throws WORKER_NOT_FOUND. Failed workers are found for a while. */
  get(workerId: string): Worker {
    const worker = this.workers.get(workerId);
    if (worker !== undefined) return worker;
    throw new RbeeError('WORKER_NOT_FOUND', `this hive has no worker ${workerId}`, {
      details: { worker_id: workerId },
      suggestion: 'list the workers there are: rbee-keeper workers list',
    });
  }

  /** A worker that waits for its model has no port yet. */
  add(worker: Worker, port: number | undefined): void {
    this.workers.set(worker.id, worker);
    if (port !== undefined) this.takePort(worker, port);
    this.options.publish({ type: 'worker', change: 'added', worker: worker.toView() });
  }

  /** Ids of the workers that have a model loaded, or are about to. */
  usersOf({ id }: Pick<Model, 'id'>): string[] {
    return this.present.filter(({ model }) => model?.id === id).map((worker) => worker.id);
  }

  takePort(worker: Worker, port: number): void {
    this.ports.set(worker.id, port);
  }

  /** Takes a callback. A worker with an unknown id is listed and watched, but not owned. */
  async onReady(callback: ReadyCallback): Promise<void> {
    const worker = this.workers.get(callback.worker_id) ?? this.addForeign(callback);
    // What the worker said before it called belongs before what follows from the call.
    await worker.hearOutput();
    worker.onReady(callback);
  }

  /** Throws WORKER_NOT_FOUND, upon which the worker repeats its callback. */
  onHeartbeat(beat: Heartbeat): void {
    this.get(beat.worker_id).onHeartbeat(beat);
  }

  /** One round of health checks; they run at the same time. */
  async checkHealth(): Promise<void> {
    await Promise.all(this.present.map((worker) => worker.checkHealth()));
  }

  /** Ends the workers that the hive owns, in parallel and within the time for the whole shutdown; lets go of the rest. */
  async close(): Promise<void> {
    const { clock, log, timeouts, narrate } = this.options;
    const owned = [...this.workers.values()].filter((worker) => worker.identity.owned && !worker.ended);
    log.info({ workers: owned.length }, `stopping ${owned.length} workers`);
    const limits = { drainMs: timeouts.hive_shutdown, killMs: timeouts.kill };
    const cancel = clock.after(timeouts.hive_shutdown, () => {
      for (const worker of owned) worker.kill('the time for the shutdown is up');
    });
    let stopped = 0;
    const stopOne = async (worker: Worker) => {
      await worker.stop('the hive is shutting down', limits);
      stopped++;
      const human = `worker ${stopped}/${owned.length} has stopped`;
      narrate({ actor: 'rbee-hive', action: 'shutdown', target: worker.id, human, worker_id: worker.id });
    };
    await Promise.all(owned.map(stopOne)).finally(cancel);
    for (const worker of this.workers.values()) worker.release();
    for (const cancelTimer of this.forgetting.values()) cancelTimer();
    log.info({ workers: owned.length }, `all ${owned.length} workers have stopped`);
  }

  private addForeign({ worker_id: workerId, url, model_ref: modelRef, backend, device }: ReadyCallback): Worker {
    const worker = new Worker({ workerId, url, modelRef, backend, device, owned: false }, undefined, this.context);
    this.add(worker, Number(new URL(url).port));
    worker.say('worker_start', `${workerId} reported itself from ${url}`);
    return worker;
  }

  private onLeft(worker: Worker, how: 'failed' | 'gone'): void {
    const { clock, timeouts, publish, runFiles } = this.options;
    if (how === 'failed' || !worker.failed) publish({ type: 'worker', change: 'removed', worker: worker.toView() });
    if (how === 'failed') {
      this.forgetting.set(
        worker.id,
        clock.after(timeouts.failed_worker_kept, () => this.forget(worker.id)),
      );
      return;
    }
    runFiles.remove(worker.id);
    this.ports.delete(worker.id);
    if (!worker.failed) this.forget(worker.id);
  }

  private forget(workerId: string): void {
    this.workers.delete(workerId);
    this.forgetting.delete(workerId);
  }
}
