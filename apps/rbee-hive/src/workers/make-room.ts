import { formatDuration, type Logger, type Narrate } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { chooseEvictions } from '../preflight/choose-evictions.js';
import { type MemoryHolder, withHostBytes } from '../preflight/footprint.js';
import { chooseDevice, type PreflightRequest } from '../preflight/preflight.js';
import type { MachineProbe } from '../probe/machine-probe.js';
import { readPrivateBytes } from '../probe/private-memory.js';
import type { ProbeSnapshot } from '../probe/snapshot.js';
import { namingWorkers } from './naming-workers.js';
import type { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';
import type { WorkerPreflight } from './worker-preflight.js';

/** How often room is looked for anew in one start; each time a worker has ended or has turned out to be in use. */
const MOST_LOOKS = 20;

export interface RoomOptions {
  readonly clock: { now(): number };
  readonly log: Logger;
  readonly pool: Pick<WorkerPool, 'present'>;
  readonly probe: Pick<MachineProbe, 'freshSnapshot' | 'simulated'>;
  readonly preflight: WorkerPreflight;
  /** Workers of this hive at a time; `undefined`: as many as fit. */
  readonly maxWorkers: number | undefined;
}

/**
 * Makes room for a worker that would not fit: ends idle ones, those used least recently first, no more than it takes, and none
 * at all when that would not be enough. Workers that are in use, pinned, or on their way are let be. Must not run twice at
 * once, or two starts end workers for the same memory.
 */
export class MakeRoom {
  constructor(private readonly options: RoomOptions) {}

  /**
   * Ends what has to go before this worker can be started, and waits until it has gone. What stands in the way after that is for
   * the checks that follow to say. `place`: the worker's own, where it has one already.
   */
  async make(request: PreflightRequest, place: Worker | undefined, narrate: Narrate): Promise<void> {
    const { pool, probe, preflight, maxWorkers } = this.options;
    const stayed = new Set<Worker>();
    for (let look = 0; look < MOST_LOOKS; look++) {
      const snapshot = await probe.freshSnapshot();
      // No room helps where the backend itself is missing.
      if (!hasDevice(request, snapshot)) return;
      const mayGo = pool.present.filter((worker) => worker !== place && this.mayGo(worker) && !stayed.has(worker));
      const leaving = mayGo.filter((worker) => worker.leaving);
      const holders = await this.measure(mayGo);
      const lackWithout = (gone: readonly Worker[]) =>
        preflight.findLack(
          request,
          snapshot,
          gone.flatMap((worker) => holders.get(worker) ?? []),
        );
      const fits = (gone: readonly Worker[]) => this.hasPlace(place, gone) && lackWithout(gone) === undefined;
      if (fits([])) return;
      // Those that end anyway come first.
      const idle = mayGo.filter((worker) => !worker.leaving);
      const chosen = fits(leaving)
        ? chooseEvictions(leaving, fits)
        : chooseEvictions(idle, (gone) => fits([...leaving, ...gone]));
      if (chosen === undefined) return;
      const [next = leaving[0]] = chosen;
      if (next === undefined) return;
      // One at a time: whether the others have to go as well is seen when it has gone.
      const why = this.hasPlace(place, []) ? describeLack(lackWithout([])) : `the limit is ${counted(maxWorkers)}`;
      if (!(await this.end(next, request.modelRef, why, narrate))) stayed.add(next);
    }
  }

  /** Throws WORKER_SPAWN_FAILED when there is no place for one more worker, not even in the stead of an idle one. */
  requireRoom(place: Worker | undefined): void {
    const { pool, maxWorkers } = this.options;
    const gone = pool.present.filter((worker) => worker !== place && this.mayGo(worker));
    if (maxWorkers === undefined || this.hasPlace(place, gone)) return;
    throw this.toFullError(place, maxWorkers);
  }

  /** Throws WORKER_SPAWN_FAILED, naming the workers that are there, when there is no place for one more worker now. */
  requirePlace(place: Worker | undefined): void {
    const { maxWorkers } = this.options;
    if (maxWorkers === undefined || this.hasPlace(place, [])) return;
    throw this.toFullError(place, maxWorkers);
  }

  /** What comes free with each of these workers. */
  private async measure(workers: readonly Worker[]): Promise<ReadonlyMap<Worker, MemoryHolder>> {
    const holders = new Map<Worker, MemoryHolder>();
    for (const worker of workers) {
      const { held } = worker;
      if (held === undefined) continue;
      const { pid } = worker.toView();
      // Simulated figures know nothing of real processes.
      const isReal = pid !== undefined && !this.options.probe.simulated;
      const hostBytes = isReal ? await readPrivateBytes(pid) : undefined;
      holders.set(worker, hostBytes === undefined ? held : withHostBytes(held, hostBytes));
    }
    return holders;
  }

  private mayGo(worker: Worker): boolean {
    return worker.evictable || worker.leaving;
  }

  private hasPlace(place: Worker | undefined, gone: readonly Worker[]): boolean {
    const { pool, maxWorkers } = this.options;
    const others = pool.present.filter((worker) => worker !== place && !gone.includes(worker));
    return maxWorkers === undefined || others.length < maxWorkers;
  }

  private async end(worker: Worker, forModel: string, why: string, narrate: Narrate): Promise<boolean> {
    const { clock, log } = this.options;
    const { modelRef } = worker.identity;
    const idleMs = Math.max(0, clock.now() - worker.idleSince);
    const endsAnyway = worker.leaving;
    if (!(await worker.makeWay(`making room for ${forModel}`))) {
      log.info({ worker_id: worker.id }, 'a worker that seemed idle is in use, or does not end');
      return false;
    }
    const name = shortName(modelRef);
    const what = endsAnyway ? `waited for the end of ${name}` : `ended ${name}, idle for ${formatDuration(idleMs)}`;
    narrate({ actor: 'rbee-hive', action: 'make_room', target: worker.id, human: `${why}: ${what}` });
    return true;
  }

  private toFullError(place: Worker | undefined, limit: number): RbeeError {
    const others = this.options.pool.present.filter((worker) => worker !== place);
    const error = new RbeeError('WORKER_SPAWN_FAILED', `this node runs ${counted(others.length)}, which is its limit`, {
      details: { running: others.length, limit },
      suggestion: 'stop a worker (rbee-keeper workers shutdown --id ID), or raise limits.max_workers of the node',
    });
    const staying = others.filter((worker) => !worker.movable);
    return namingWorkers(error, others, staying.length < limit);
  }
}

/** What stands in the error of a check, in few words. */
function describeLack(lack: RbeeError | undefined): string {
  const { required, available, device } = lack?.details ?? {};
  return `${required} MB needed${device === undefined ? '' : ` on ${device}`}, ${available} MB free`;
}

/** A narration is short, and the figures matter more than a folder. */
function shortName(modelRef: string): string {
  return modelRef.startsWith('file://') ? modelRef.slice(modelRef.lastIndexOf('/') + 1) : modelRef;
}

function counted(count: number | undefined): string {
  return `${count} ${count === 1 ? 'worker' : 'workers'}`;
}

function hasDevice(request: PreflightRequest, snapshot: ProbeSnapshot): boolean {
  try {
    chooseDevice(request, snapshot);
    return true;
  } catch {
    return false;
  }
}
