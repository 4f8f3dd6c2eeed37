import type { Clock, Logger, Narrate, ProcessIdentity, Secret, Timeouts } from '@rbee/daemon-kit';
import {
  type Heartbeat,
  type HiveEvent,
  type Model,
  RbeeError,
  type ReadyCallback,
  type Worker as WorkerView,
} from '@rbee/protocol';
import type { CrashRecords } from './crash-records.js';
import type { MemoryKills } from './memory-kills.js';
import { PortQuarantine } from './port-quarantine.js';
import type { WorkerLoss } from './restart-policy.js';
import type { RunFiles } from './run-files.js';
import { Worker } from './worker.js';
import type { WorkerContext } from './worker-context.js';

const MAX_FAILED_KEPT = 100;

export interface WorkerPoolOptions {
  clock: Clock;
  log: Logger;
  timeouts: Timeouts;
  narrate: Narrate;
  publish: (event: HiveEvent) => void;
  runFiles: RunFiles;
  /** This process, for the records of its workers. */
  hive: ProcessIdentity;
  /** Folder of the installation that this hive and its workers run from. */
  installation: string;
  /** Notes that a process must not lose the files that it runs from; the returned function takes the note away. */
  noteProcess: (process: ProcessIdentity & { installation: string }) => () => void;
  crashes: CrashRecords;
  memoryKills: MemoryKills;
  /** A worker that nobody told to end has gone. */
  onLost: (worker: Worker, loss: WorkerLoss) => void;
  /** A worker has told what its model takes. */
  onMemory: WorkerContext['onMemory'];
}

/** The workers of this machine: finds, watches and ends them. In memory only. */
export class WorkerPool {
  private readonly workers = new Map<string, Worker>();
  private readonly ports = new Map<string, number>();
  /** Timers that forget failed workers. */
  private readonly forgetting = new Map<string, () => void>();
  private readonly quarantine = new PortQuarantine();
  private readonly processNotes = new Map<string, () => void>();

  constructor(private readonly options: WorkerPoolOptions) {}

  /** Every worker but the failed ones. */
  get present(): Worker[] {
    return [...this.workers.values()].filter((worker) => !worker.failed);
  }

  /** Ports that workers have or are about to bind. */
  get takenPorts(): ReadonlySet<number> {
    return new Set([...this.ports.values(), ...this.quarantine.ports]);
  }

  /** What a new worker of this pool is built on. */
  get context(): WorkerContext {
    const { clock, log, timeouts, publish, onMemory, memoryKills, crashes } = this.options;
    return {
      ...{ clock, log, timeouts, publish, onMemory, memoryKills },
      onLeft: (worker, how) => this.onLeft(worker, how),
      onCrash: (crash) => {
        log.error({ ...crash }, 'a worker has crashed');
        crashes.add(crash);
      },
      onChanged: (worker) => this.recordAgain(worker),
    };
  }

  list(): WorkerView[] {
    return this.present.map((worker) => worker.toView());
  }

  /** The keys with which the workers of this hive call back, failed ones included: they tell why. */
  *keys(): Iterable<Secret> {
    for (const { key } of this.workers.values()) if (key !== undefined) yield key;
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

  /**
   * Notes on disk what another hive has to know about a worker, once it has a process. Throws WORKER_SPAWN_FAILED when that
   * cannot be written.
   */
  record(worker: Worker): void {
    const { hive, runFiles } = this.options;
    const { processIdentity: process, spec, model, pinned } = worker;
    const { modelRef, url, backend, device } = worker.identity;
    if (process === undefined) return;
    const takeover = spec && {
      ...{ url, backend, device, pinned },
      modelId: model?.id ?? '',
      modelPath: spec.modelPath,
      slots: spec.slots,
      contextSize: spec.contextSize,
      installation: this.installationOf(worker),
    };
    runFiles.writeRecord({
      workerId: worker.id,
      modelRef,
      port: this.ports.get(worker.id) ?? 0,
      process,
      hive,
      takeover,
    });
    this.noteProcess(worker);
  }

  /** Sees to it that nobody removes the installation under a worker's process, also when this hive is gone. */
  noteProcess(worker: Worker): void {
    const { processIdentity: process } = worker;
    if (process === undefined || this.processNotes.has(worker.id)) return;
    try {
      const note = this.options.noteProcess({ ...process, installation: this.installationOf(worker) });
      this.processNotes.set(worker.id, note);
    } catch (error) {
      this.options.log.warn({ error, worker_id: worker.id }, 'the process of a worker could not be noted');
    }
  }

  private installationOf({ installation = this.options.installation }: Worker): string {
    return installation;
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
    this.options.memoryKills.look();
    await Promise.all([this.quarantine.recheck(), this.look((worker) => worker.checkHealth())]);
  }

  /** Looks whether the workers still generate; all at the same time. */
  async checkEngines(): Promise<void> {
    await this.look((worker) => worker.checkEngine());
  }

  /** One that cannot be looked at does not keep the others from it. */
  private async look(at: (worker: Worker) => Promise<void>): Promise<void> {
    const { log } = this.options;
    await Promise.all(
      this.present.map((worker) =>
        at(worker).catch((error: unknown) => log.warn({ error, worker_id: worker.id }, 'looking at a worker failed')),
      ),
    );
  }

  /** Lets go of all workers, whose processes go on. */
  release(): void {
    for (const worker of this.workers.values()) worker.release();
    for (const cancelTimer of this.forgetting.values()) cancelTimer();
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
    this.release();
    await this.quarantine.settled();
    log.info({ workers: owned.length }, `all ${owned.length} workers have stopped`);
  }

  private addForeign({ worker_id: workerId, url, model_ref: modelRef, backend, device }: ReadyCallback): Worker {
    const worker = new Worker({ workerId, url, modelRef, backend, device, owned: false }, undefined, this.context);
    this.add(worker, Number(new URL(url).port));
    worker.say('worker_start', `${workerId} reported itself from ${url}`);
    return worker;
  }

  private onLeft(worker: Worker, how: 'failed' | 'gone'): void {
    const { clock, timeouts, publish, runFiles, onLost } = this.options;
    if (how === 'failed' || !worker.failed) publish({ type: 'worker', change: 'removed', worker: worker.toView() });
    if (how === 'failed') {
      this.forgetting.set(
        worker.id,
        clock.after(timeouts.failed_worker_kept, () => this.forget(worker.id)),
      );
      this.forgetSurplus();
      return;
    }
    if (!worker.released) {
      runFiles.remove(worker.id);
      this.processNotes.get(worker.id)?.();
    }
    this.processNotes.delete(worker.id);
    this.freePort(worker);
    if (!worker.failed) this.forget(worker.id);
    if (worker.loss !== undefined && !worker.released) onLost(worker, worker.loss);
  }

  /** The port of a worker that has gone, unless something still listens there. */
  private freePort(worker: Worker): void {
    const { log } = this.options;
    const port = this.ports.get(worker.id);
    this.ports.delete(worker.id);
    if (port === undefined || worker.released || !worker.identity.owned) return;
    const { hostname } = new URL(worker.identity.url);
    this.quarantine
      .examine(hostname.replace(/^\[|\]$/g, ''), port)
      .then((free) => {
        if (free) return;
        const human = `the process of ${worker.id} has gone, but port ${port} is still in use: it stays unused`;
        worker.say('zombie_worker', human, { level: 'warn' });
      })
      .catch((error: unknown) => log.error({ error, port }, 'a port could not be examined'));
  }

  private recordAgain(worker: Worker): void {
    try {
      this.record(worker);
    } catch (error) {
      this.options.log.warn({ error, worker_id: worker.id }, 'the record of a worker could not be renewed');
    }
  }

  /** Of workers that fail again and again only the newest are kept for inspection. */
  private forgetSurplus(): void {
    const [oldest] = this.forgetting.keys();
    if (this.forgetting.size <= MAX_FAILED_KEPT || oldest === undefined) return;
    this.forgetting.get(oldest)?.();
    this.forget(oldest);
  }

  private forget(workerId: string): void {
    this.workers.delete(workerId);
    this.forgetting.delete(workerId);
  }
}
