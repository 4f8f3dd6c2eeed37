import { isRbeeError, type MemoryFigures, type Model, type PlannedWorker, type RbeeError } from '@rbee/protocol';
import { inspectModelFiles } from '../gguf/model-files.js';
import { type MemoryHolder, withoutHolders } from '../preflight/footprint.js';
import {
  checkRam,
  checkWorkerFits,
  type PreflightPass,
  type PreflightRequest,
  type Reservation,
} from '../preflight/preflight.js';
import { requiredMemory } from '../preflight/required-memory.js';
import type { MachineProbe } from '../probe/machine-probe.js';
import type { ProbeSnapshot } from '../probe/snapshot.js';
import { namingWorkers } from './naming-workers.js';
import type { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';

/** Told of each check that was passed. */
export type TellCheck = (action: string, human: string) => void;

/** Checks workers against this machine, of which a part is promised to workers that are starting. */
export class WorkerPreflight {
  private readonly reservations = new WeakMap<Worker, Reservation>();

  constructor(
    private readonly pool: Pick<WorkerPool, 'present'>,
    private readonly probe: MachineProbe,
    private readonly options: {
      /** Slots of a worker, where the request names none; `undefined`: the worker's own choice. */
      readonly defaultSlots: number | undefined;
      /** Told what a model is going to take, before its worker is started. */
      readonly onEstimate: (model: Model, figures: MemoryFigures) => void;
    },
  ) {}

  /** What has to be known of a model that is on this machine. */
  async describe(modelRef: string, model: Model, planned: PlannedWorker): Promise<PreflightRequest> {
    const { facts, sizeBytes } = await inspectModelFiles(model.local_path);
    const request = this.toRequest(modelRef, sizeBytes, planned, facts.memory);
    const { estimate } = requiredMemory(request);
    if (estimate !== null) this.options.onEstimate(model, estimate);
    return request;
  }

  /**
   * A model that still has to come is known by its size alone; what room can be made for it is made when it is there. Throws as
   * `check`.
   */
  async checkBeforeItComes(modelRef: string, sizeBytes: number, planned: PlannedWorker): Promise<void> {
    const request = this.toRequest(modelRef, sizeBytes, planned, null);
    const snapshot = await this.probe.snapshot();
    const mayGo = this.pool.present.filter((worker) => worker.evictable || worker.leaving);
    if (this.findLack(request, snapshot, holdersOf(mayGo)) === undefined) return;
    this.checkNow(request, snapshot, undefined);
  }

  /**
   * Throws INSUFFICIENT_RAM, BACKEND_UNAVAILABLE, GPU_NOT_AVAILABLE, INVALID_DEVICE or VRAM_EXHAUSTED; where memory lacks, with
   * the workers that have it.
   */
  async check(request: PreflightRequest, tell: TellCheck): Promise<PreflightPass> {
    return this.checkNow(request, await this.probe.freshSnapshot(), tell);
  }

  /** What memory lacks once these workers have gone; `undefined` when it will do. Throws what has nothing to do with memory. */
  findLack(request: PreflightRequest, snapshot: ProbeSnapshot, gone: readonly MemoryHolder[]): RbeeError | undefined {
    try {
      checkWorkerFits(request, withoutHolders(snapshot, gone), this.promised);
      return undefined;
    } catch (error) {
      if (isLackOfMemory(error)) return error;
      throw error;
    }
  }

  /** Memory that was free a moment ago may have gone. Throws INSUFFICIENT_RAM. */
  async checkAgain({ modelRef }: PreflightRequest, { requiredMb }: PreflightPass): Promise<void> {
    checkRam({ modelRef, requiredMb, ram: await this.probe.ram(), promised: this.promised, fell: true });
  }

  /** Keeps the memory for a worker until it has taken it. */
  reserve(worker: Worker, reservation: Reservation): void {
    this.reservations.set(worker, reservation);
  }

  private checkNow(request: PreflightRequest, snapshot: ProbeSnapshot, tell: TellCheck | undefined): PreflightPass {
    try {
      return checkWorkerFits(request, snapshot, this.promised, tell);
    } catch (error) {
      if (!isLackOfMemory(error)) throw error;
      const workers = this.pool.present;
      const movable = holdersOf(workers.filter((worker) => worker.movable));
      // Those that are starting will have taken what they were promised, and can be ended then.
      const waits = workers.some((worker) => worker.movable && !worker.evictable);
      const roomLater = waits && fits(request, withoutHolders(snapshot, movable), this.promisedForGood);
      throw namingWorkers(error, workers, roomLater);
    }
  }

  private get promised(): Reservation[] {
    return this.promisedTo(() => true);
  }

  /** Promised to workers that will stay. */
  private get promisedForGood(): Reservation[] {
    return this.promisedTo((worker) => !worker.movable);
  }

  private promisedTo(which: (worker: Worker) => boolean): Reservation[] {
    const starting = this.pool.present.filter((worker) => worker.starting && which(worker));
    return starting.flatMap((worker) => this.reservations.get(worker) ?? []);
  }

  private toRequest(
    modelRef: string,
    sizeBytes: number,
    { backend, device, slots_total: slots = this.options.defaultSlots, context_size: contextSize }: PlannedWorker,
    profile: PreflightRequest['profile'],
  ): PreflightRequest {
    return { modelRef, sizeBytes, profile, backend, device, slots, contextSize };
  }
}

/** The memory that workers have taken, as far as it is known. */
export function holdersOf(workers: readonly Worker[]): MemoryHolder[] {
  return workers.flatMap(({ held }) => held ?? []);
}

function isLackOfMemory(error: unknown): error is RbeeError {
  return isRbeeError(error) && (error.code === 'INSUFFICIENT_RAM' || error.code === 'VRAM_EXHAUSTED');
}

function fits(request: PreflightRequest, snapshot: ProbeSnapshot, promised: readonly Reservation[]): boolean {
  try {
    checkWorkerFits(request, snapshot, promised);
    return true;
  } catch (error) {
    if (isLackOfMemory(error)) return false;
    throw error;
  }
}
