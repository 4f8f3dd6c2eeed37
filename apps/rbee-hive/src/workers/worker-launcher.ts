import { randomBytes, randomUUID } from 'node:crypto';
import {
  type Clock,
  createNarrator,
  formatDuration,
  type Logger,
  type Narrate,
  type ProcessIdentity,
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
import { toUrl } from '../loopback.js';
import { checkRam, checkWorkerFits, chooseDevice, type Reservation, requiredMemoryMb } from '../preflight/preflight.js';
import type { MachineProbe } from '../probe/machine-probe.js';
import { BYTES_PER_MB } from '../probe/snapshot.js';
import type { Provisioner } from '../provisioning/provisioner.js';
import { type WorkerSpec, workerArguments, workerVariables } from './launch-plan.js';
import { choosePort } from './port-allocator.js';
import type { RunFiles } from './run-files.js';
import { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';
import { WorkerProcess, type WorkerProgram, workerLogFile } from './worker-process.js';

export interface WorkerLauncherOptions {
  clock: Clock;
  log: Logger;
  timeouts: Timeouts;
  publish: (event: HiveEvent) => void;
  pool: WorkerPool;
  probe: MachineProbe;
  provisioner: Provisioner;
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
  /** This process, for the records of its workers. */
  hive: ProcessIdentity;
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

/** Starts workers: finds the model, checks that it fits, launches the process. Launches happen one at a time. */
export class WorkerLauncher {
  private readonly reservations = new WeakMap<Worker, Reservation>();
  private launching: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(private readonly options: WorkerLauncherOptions) {}

  /**
   * Starts a worker and answers at its first callback, or fails with what stood in the way. The start goes on when the
   * caller stops waiting.
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
    const { probe, provisioner, log } = this.options;
    const spawn = this.describe(request, correlationId);
    const model = await provisioner.provide(request.model).catch(async (error: unknown) => {
      // That the backend is missing comes first: no other model file would help.
      chooseDevice(request, await probe.snapshot());
      throw error;
    });
    const found = `found ${spawn.modelRef}: ${mb(model.size_bytes)} on disk, ${model.facts?.quantization ?? 'unknown'}`;
    spawn.narrate({ actor: 'model-provisioner', action: 'model_found', target: spawn.modelRef, human: found });
    const launch = this.launching.then(() => this.launch(spawn, model));
    this.launching = launch.catch(() => undefined);
    const worker = await launch;
    await provisioner.markUsed(model).catch((error: unknown) => {
      // A worker that runs is worth more than the note of when.
      log.warn({ error, model_ref: spawn.modelRef }, 'the use of a model could not be noted');
    });
    await worker.start.reachable;
    const { worker_id, url, state, device } = worker.toView();
    const events_url = `/v1/workers/${worker_id}/events`;
    return { worker_id, url, state, events_url, api_key: worker.key?.reveal(), device };
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

  private async launch(spawn: Spawn, model: Model): Promise<Worker> {
    const { pool, probe, leftoversReaped, defaultSlots } = this.options;
    await leftoversReaped;
    this.requireRoom();
    const { request, modelRef } = spawn;
    const { backend } = request;
    const say = (action: string, human: string) => {
      spawn.narrate({ actor: 'rbee-hive', action, target: modelRef, human });
    };
    const sizeBytes = model.size_bytes;
    say('worker_preflight', `checking that ${modelRef} fits on ${backend}: ${requiredMemoryMb(sizeBytes)} MB needed`);
    const starting = pool.present.filter((worker) => worker.starting);
    const promised = starting.flatMap((worker) => this.reservations.get(worker) ?? []);
    const asked = { modelRef, sizeBytes, backend, device: request.device };
    const { requiredMb, device } = checkWorkerFits(asked, await probe.snapshot(), promised, say);
    const port = await this.choosePort(spawn);
    checkRam({ modelRef, requiredMb, ram: await probe.ram(), promised, fell: true });
    this.requireOpen();
    const spec = {
      workerId: `worker-${randomUUID()}`,
      modelRef,
      modelPath: model.local_path,
      backend,
      device,
      slots: request.slots_total ?? defaultSlots,
      contextSize: request.context_size,
    };
    return this.startWorker(spawn, spec, port, { backend, device, requiredMb });
  }

  private async startWorker(spawn: Spawn, spec: WorkerSpec, port: number, reservation: Reservation): Promise<Worker> {
    const { workerHost: host, runFiles, logDir, workerProgram, variables, callbackUrl, hive, pool } = this.options;
    const { workerId, modelRef, backend, device } = spec;
    const key = new Secret(randomBytes(32).toString('hex'));
    const url = toUrl(host, port);
    const identity = { workerId, url, modelRef, backend, device, owned: true };
    const worker = new Worker(identity, key, pool.context, spawn.correlationId);
    for (const event of spawn.heard) worker.start.hear(event);
    this.reservations.set(worker, reservation);
    pool.add(worker, port);
    worker.say('worker_dispatch', `starting a worker for ${modelRef} on ${backend}:${device}, port ${port}`);
    const address = { host, port, callbackUrl: callbackUrl(), keyFile: runFiles.keyFile(workerId) };
    try {
      // From here on the pool has it: whatever fails has to take it out again.
      runFiles.writeKey(workerId, key);
      const process = await WorkerProcess.start({
        program: workerProgram,
        args: workerArguments(spec, address),
        variables: workerVariables(spec, variables),
        logFile: workerLogFile(logDir, workerId),
      });
      worker.attach(process);
      runFiles.writeRecord({ workerId, modelRef, port, process: process.identity, hive });
      return worker;
    } catch (error) {
      worker.abandon(toRbeeError(error));
      throw error;
    }
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

  private requireRoom(): void {
    const { maxWorkers, pool } = this.options;
    const running = pool.present.length;
    if (maxWorkers === undefined || running < maxWorkers) return;
    throw new RbeeError('WORKER_SPAWN_FAILED', `this node runs ${running} workers, which is its limit`, {
      details: { workers: running, limit: maxWorkers },
      suggestion: 'stop a worker (rbee-keeper workers shutdown --id ID), or raise limits.max_workers of the node',
    });
  }
}

function mb(bytes: number): string {
  return `${Math.max(0.1, bytes / BYTES_PER_MB).toFixed(1)} MB`;
}
