import { randomBytes, randomUUID } from 'node:crypto';
import {
  type Clock,
  createNarrator,
  formatDuration,
  type Logger,
  type Narrate,
  orAborted,
  Secret,
  type Timeouts,
  withTimeout,
} from '@rbee/daemon-kit';
import {
  formatModelRef,
  type HiveEvent,
  type Model,
  type Narration,
  parseModelRef,
  RbeeError,
  type SpawnAnswer,
  type SpawnRequest,
  toRbeeError,
} from '@rbee/protocol';
import type { Download } from '../downloads/download.js';
import { progressUrlOf, type RequestedDownload } from '../downloads/downloads.js';
import { toUrl } from '../loopback.js';
import type { Footprint } from '../preflight/footprint.js';
import { chooseDevice, type Reservation } from '../preflight/preflight.js';
import { requiredMemory } from '../preflight/required-memory.js';
import type { MachineProbe } from '../probe/machine-probe.js';
import { BYTES_PER_MB } from '../probe/snapshot.js';
import type { Provisioner } from '../provisioning/provisioner.js';
import { followDownload } from './follow-download.js';
import { type WorkerSpec, workerArguments, workerVariables } from './launch-plan.js';
import { MakeRoom } from './make-room.js';
import { choosePort } from './port-allocator.js';
import type { RunFiles } from './run-files.js';
import { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';
import type { WorkerPreflight } from './worker-preflight.js';
import { WorkerProcess, type WorkerProgram, workerLogFile } from './worker-process.js';

export interface WorkerLauncherOptions {
  clock: Clock;
  log: Logger;
  timeouts: Timeouts;
  publish: (event: HiveEvent) => void;
  pool: WorkerPool;
  probe: MachineProbe;
  provisioner: Provisioner;
  preflight: WorkerPreflight;
  runFiles: RunFiles;
  logDir: string;
  workerProgram: WorkerProgram;
  /** Environment that workers inherit. */
  variables: Readonly<Record<string, string | undefined>>;
  /** Address that workers listen on. */
  workerHost: string;
  firstPort: number;
  /** Base address of this hive, for callbacks. */
  callbackUrl: () => string;
  maxWorkers: number | undefined;
  defaultSlots: number | undefined;
  /** Settles when the workers of an earlier hive have gone; no process is started before. */
  leftoversReaped: Promise<unknown>;
}

/** One request for a worker, and what the user is told about it before the worker exists. */
interface Spawn {
  request: SpawnRequest;
  modelRef: string;
  correlationId: string;
  narrate: Narrate;
  heard: Narration[];
}

/** Everything that is decided about a start. */
interface Start {
  spawn: Spawn;
  spec: WorkerSpec;
  port: number;
  model: Model;
  /** What it is expected to hold. */
  footprint: Footprint;
  /** The worker that waited for the model. */
  waiting: Worker | undefined;
}

/** Starts workers: finds the model, checks that it fits, launches the process. Launches happen one at a time. */
export class WorkerLauncher {
  private launching: Promise<unknown> = Promise.resolve();
  private closed = false;
  private readonly room: MakeRoom;

  constructor(private readonly options: WorkerLauncherOptions) {
    this.room = new MakeRoom(options);
  }

  private get preflight(): WorkerPreflight {
    return this.options.preflight;
  }

  /**
   * Starts a worker and answers at its first callback or, when its model has to be fetched first, at once; or fails with
   * what stood in the way. The start goes on when the caller stops waiting.
   */
  spawn(request: SpawnRequest, correlationId: string): Promise<SpawnAnswer> {
    const { clock, timeouts } = this.options;
    return withTimeout(clock, timeouts.spawn_answer, this.spawnAndWait(request, correlationId), () => {
      const waited = formatDuration(timeouts.spawn_answer);
      return new RbeeError('WORKER_STARTUP_FAILED', `no worker for ${request.model} was reachable within ${waited}`, {
        details: { timeout_ms: timeouts.spawn_answer },
        suggestion: 'look into the hive log: rbee-keeper logs --node localhost',
      });
    });
  }

  /** Starts no more workers; resolves when a launch that was under way has been made or given up. */
  async close(): Promise<void> {
    this.closed = true;
    await this.launching;
  }

  private async spawnAndWait(request: SpawnRequest, correlationId: string): Promise<SpawnAnswer> {
    this.requireOpen();
    const { probe, provisioner } = this.options;
    const spawn = this.describe(request, correlationId);
    const present = await provisioner.find(request.model).catch(async (error: unknown) => {
      // That the backend is missing comes first: no other model file would help.
      chooseDevice(request, await probe.snapshot());
      throw error;
    });
    if (present) return this.startWith(spawn, present);
    const device = chooseDevice(request, await probe.snapshot());
    this.room.requireRoom(undefined);
    const requested = await provisioner.fetch(request.model, correlationId, request);
    if ('model' in requested) return this.startWith(spawn, requested.model);
    return this.startLater(spawn, device, requested);
  }

  /** The model is there: answers once the worker can be reached. */
  private async startWith(spawn: Spawn, model: Model): Promise<SpawnAnswer> {
    const worker = await this.launchInTurn(spawn, model, undefined);
    await worker.start.reachable;
    const { worker_id, url, state, device } = worker.toView();
    return { worker_id, url, state, events_url: eventsUrlOf(worker), api_key: worker.key?.reveal(), device };
  }

  /** The model is on its way: answers at once, and goes on in the background. */
  private startLater(spawn: Spawn, device: number, { download, release }: RequestedDownload): SpawnAnswer {
    const { pool, log } = this.options;
    const { backend, pinned } = spawn.request;
    try {
      // Others may have come while the hub was asked.
      this.requireOpen();
      this.room.requireRoom(undefined);
    } catch (error) {
      release();
      throw error;
    }
    const workerId = `worker-${randomUUID()}`;
    const identity = { workerId, url: '', modelRef: spawn.modelRef, backend, device, owned: true, pinned };
    const worker = new Worker(identity, createKey(), pool.context, spawn.correlationId);
    pool.add(worker, undefined);
    worker.say('worker_dispatch', `waiting for ${spawn.modelRef}`);
    this.launchWhenThere(spawn, worker, download)
      .catch((error: unknown) => {
        const reason = toRbeeError(error);
        log.warn({ worker_id: workerId, error_code: reason.code }, `a worker was given up: ${reason.message}`);
        if (!worker.ended && !worker.failed) worker.abandon(reason);
      })
      .finally(release);
    return {
      worker_id: workerId,
      state: 'provisioning',
      events_url: eventsUrlOf(worker),
      api_key: worker.key?.reveal(),
      device,
      download_id: download.id,
      progress_url: progressUrlOf(download),
    };
  }

  private async launchWhenThere(spawn: Spawn, worker: Worker, download: Download): Promise<void> {
    const [model] = await Promise.all([
      orAborted(download.done, worker.gone),
      followDownload(worker, download, worker.gone),
    ]);
    await this.launchInTurn(spawn, model, worker);
  }

  private async launchInTurn(spawn: Spawn, model: Model, worker: Worker | undefined): Promise<Worker> {
    const { provisioner, log } = this.options;
    const found = `found ${spawn.modelRef}: ${mb(model.size_bytes)} on disk, ${model.facts?.quantization ?? 'unknown'}`;
    spawn.narrate({ actor: 'model-provisioner', action: 'model_found', target: spawn.modelRef, human: found });
    const launch = this.launching.then(() => this.launch(spawn, model, worker));
    this.launching = launch.catch(() => undefined);
    const launched = await launch;
    await provisioner.markUsed(model).catch((error: unknown) => {
      // A worker that runs is worth more than the note of when.
      log.warn({ error, model_ref: spawn.modelRef }, 'the use of a model could not be noted');
    });
    return launched;
  }

  private describe(request: SpawnRequest, correlationId: string): Spawn {
    const { clock, log, publish } = this.options;
    const ref = parseModelRef(request.model);
    const modelRef = ref === undefined ? request.model : formatModelRef(ref);
    const heard: Narration[] = [];
    const narrate = createNarrator({
      service: 'rbee-hive',
      clock,
      log,
      deliver: (event) => {
        publish(event);
        heard.push(event);
      },
      fields: { model_ref: modelRef, correlation_id: correlationId },
    });
    return { request, modelRef, correlationId, narrate, heard };
  }

  private async launch(spawn: Spawn, model: Model, waiting: Worker | undefined): Promise<Worker> {
    const { leftoversReaped, defaultSlots } = this.options;
    await leftoversReaped;
    this.requireOpen();
    waiting?.gone.throwIfAborted();
    const { request, modelRef } = spawn;
    const { backend } = request;
    const planned = { ...request, device: waiting?.identity.device ?? request.device };
    const asked = await this.preflight.describe(modelRef, model, planned);
    const { requiredMb: needed, footprint } = requiredMemory(asked);
    const human = `checking that ${modelRef} fits on ${backend}: ${needed} MB needed`;
    spawn.narrate({ actor: 'rbee-hive', action: 'worker_preflight', target: modelRef, human });
    await this.room.make(asked, waiting, spawn.narrate);
    this.room.requirePlace(waiting);
    const passed = await this.preflight.check(asked, (action, human) => {
      spawn.narrate({ actor: 'rbee-hive', action, target: modelRef, human });
    });
    const { requiredMb, device } = passed;
    const port = await this.choosePort(spawn);
    await this.preflight.checkAgain(asked, passed);
    this.requireOpen();
    this.room.requirePlace(waiting);
    waiting?.gone.throwIfAborted();
    const spec = {
      workerId: waiting?.id ?? `worker-${randomUUID()}`,
      modelRef,
      modelPath: model.local_path,
      backend,
      device,
      slots: request.slots_total ?? defaultSlots,
      contextSize: request.context_size,
    };
    return this.startWorker({ spawn, spec, port, model, footprint, waiting }, { backend, device, requiredMb });
  }

  private async startWorker(start: Start, reservation: Reservation): Promise<Worker> {
    const { workerHost: host, runFiles, logDir, workerProgram, variables, callbackUrl } = this.options;
    const { spec, port } = start;
    const { workerId, modelRef, backend, device } = spec;
    const worker = this.place(start);
    this.preflight.reserve(worker, reservation);
    worker.say('worker_dispatch', `starting a worker for ${modelRef} on ${backend}:${device}, port ${port}`);
    const address = { host, port, callbackUrl: callbackUrl(), keyFile: runFiles.keyFile(workerId) };
    try {
      // From here on the pool has it: whatever fails has to take it out again.
      runFiles.writeKey(workerId, keyOf(worker));
      const process = await WorkerProcess.start({
        program: workerProgram,
        args: workerArguments(spec, address),
        variables: workerVariables(spec, variables),
        logFile: workerLogFile(logDir, workerId),
      });
      worker.attach(process);
      this.options.pool.record(worker);
      return worker;
    } catch (error) {
      worker.abandon(toRbeeError(error));
      throw error;
    }
  }

  /** A new worker, or the one that waited for its model, at its address. */
  private place({ spawn, spec, port, model, footprint, waiting }: Start): Worker {
    const { workerHost: host, pool } = this.options;
    const { workerId, modelRef, backend, device } = spec;
    const url = toUrl(host, port);
    const { pinned } = spawn.request;
    const identity = { workerId, url, modelRef, backend, device, owned: true, pinned };
    const worker = waiting ?? new Worker(identity, createKey(), pool.context, spawn.correlationId);
    for (const event of spawn.heard) worker.start.hear(event);
    worker.equip(model, footprint);
    worker.spec = spec;
    if (waiting === undefined) pool.add(worker, port);
    else {
      pool.takePort(worker, port);
      worker.settle({ url, device });
    }
    return worker;
  }

  private choosePort({ narrate }: Spawn): Promise<number> {
    const { workerHost, firstPort, pool } = this.options;
    return choosePort({
      host: workerHost,
      start: firstPort,
      taken: pool.takenPorts,
      onInUse: (port) => {
        const human = `port ${port} is in use by another process, trying the next one`;
        narrate({ actor: 'rbee-hive', action: 'port_in_use', target: String(port), human });
      },
    });
  }

  private requireOpen(): void {
    if (!this.closed) return;
    throw new RbeeError('WORKER_DRAINING', 'this hive is shutting down and starts no more workers', {
      suggestion: 'start the hive again, or use another node',
    });
  }
}

function createKey(): Secret {
  return new Secret(randomBytes(32).toString('hex'));
}

/** Workers that are started here have one. */
function keyOf({ id, key }: Worker): Secret {
  if (key === undefined) throw new TypeError(`${id} has no key`);
  return key;
}

function eventsUrlOf(worker: Worker): string {
  return `/v1/workers/${worker.id}/events`;
}

function mb(bytes: number): string {
  return `${Math.max(0.1, bytes / BYTES_PER_MB).toFixed(1)} MB`;
}
