import type { Clock } from '@rbee/daemon-kit';
import {
  type GlobalWorker,
  RbeeError,
  type WorkerChange,
  type WorkerReadyReport,
  type WorkerReport,
} from '@rbee/protocol';

/** A worker that a hive has reported, as it stands now. Each change makes a new one, so that whoever looked earlier notices. */
export interface ReportedWorker {
  readonly worker: GlobalWorker;
  /** When the last report of it came, milliseconds since the epoch. */
  readonly seenAt: number;
}

/** What the queen knows of workers by its own event streams. */
export interface FollowedWorkers {
  /** Name of the node that has the worker. */
  nodeOf(workerId: string): string | undefined;
  /** Takes a report of a worker that is followed; false when it is not. */
  note(workerId: string, change: WorkerChange): boolean;
}

/**
 * The workers that hives report by themselves: a hive that the queen does not follow can tell it of its workers in this way. In memory
 * only. They are listed and watched, not given tasks: for that the queen needs the hive itself, which has their keys. A report of a
 * worker that the queen follows changes what it knows of that worker, until the hive's own next event.
 */
export class WorkerReports {
  readonly #clock: Clock;
  readonly #followed: FollowedWorkers;
  readonly #workers = new Map<string, ReportedWorker>();

  constructor(clock: Clock, followed: FollowedWorkers) {
    this.#clock = clock;
    this.#followed = followed;
  }

  /** Those that are not followed, one of them for each id. */
  get all(): ReportedWorker[] {
    return [...this.#workers.values()].filter(({ worker }) => this.#followed.nodeOf(worker.worker_id) === undefined);
  }

  list(node?: string): GlobalWorker[] {
    return this.all.map(({ worker }) => worker).filter((worker) => node === undefined || worker.node === node);
  }

  /** Whether the worker is new. Throws WORKER_ALREADY_REGISTERED when another hive has an id. */
  register(report: WorkerReport): boolean {
    const { worker_id: id, rbee_hive_url, node_name } = report;
    const followedBy = this.#followed.nodeOf(id);
    if (followedBy !== undefined && followedBy !== node_name) throw alreadyRegistered(id, followedBy);
    const known = this.#workers.get(id)?.worker;
    if (known && known.rbee_hive_url !== rbee_hive_url) throw alreadyRegistered(id, known.node);
    this.#keep({ ...toWorker(report), ...(known && { state: known.state, slots_available: known.slots_available }) });
    return known === undefined && followedBy === undefined;
  }

  /** The worker takes jobs. One that is not known is registered, when the report says whose it is; throws INVALID_REQUEST otherwise. */
  ready(report: WorkerReadyReport): void {
    const { worker_id: id } = report;
    if (this.#followed.note(id, { state: 'idle', slots_available: undefined })) return;
    const known = this.#workers.get(id)?.worker;
    const { node_name = known?.node, rbee_hive_url = known?.rbee_hive_url, url, model_ref, backend, device } = report;
    if (node_name === undefined || rbee_hive_url === undefined) throw homeless(id);
    const slots_total = known?.slots_total ?? 1;
    const facts = { worker_id: id, url, model_ref, backend, device, node_name, rbee_hive_url, slots_total };
    const worker = toWorker({
      ...facts,
      models_loaded: [model_ref],
      capabilities: known?.capabilities,
      vram_bytes: undefined,
    });
    this.#keep({ ...worker, state: 'idle', slots_available: slots_total });
  }

  /** Takes a change or a heartbeat; the newest counts. Throws WORKER_NOT_FOUND, upon which a hive registers the worker again. */
  change(id: string, change: WorkerChange): void {
    if (this.#followed.note(id, change)) return;
    const known = this.#workers.get(id)?.worker;
    if (!known) throw notReported(id);
    const { state = known.state, slots_available = known.slots_available } = change;
    this.#keep({ ...known, state, slots_available });
  }

  /** Forgets a worker; one that is not known is none. */
  remove(id: string): void {
    this.#workers.delete(id);
  }

  /** Forgets a worker unless something was heard of it since. */
  removeIfSilent(seen: ReportedWorker): boolean {
    const { worker_id: id } = seen.worker;
    return this.#workers.get(id) === seen && this.#workers.delete(id);
  }

  /** It has shown that it lives. */
  touch(id: string): void {
    const known = this.#workers.get(id);
    if (known) this.#keep(known.worker);
  }

  #keep(worker: GlobalWorker): void {
    const seenAt = this.#clock.now();
    this.#workers.set(worker.worker_id, {
      worker: { ...worker, last_heartbeat_unix: Math.floor(seenAt / 1000) },
      seenAt,
    });
  }
}

function toWorker(report: WorkerReport): GlobalWorker {
  const { worker_id, url, rbee_hive_url, node_name, model_ref, backend, device, slots_total, models_loaded } = report;
  const capabilities = report.capabilities ?? [`${backend}:${device}`];
  const rest = { state: 'loading' as const, slots_total, slots_available: 0, models_loaded, rbee_hive_url };
  return { worker_id, node: node_name, url, model_ref, backend, device, capabilities, ...rest };
}

function alreadyRegistered(id: string, node: string): RbeeError {
  return new RbeeError('WORKER_ALREADY_REGISTERED', `the worker ${id} belongs to another hive, on ${node}`, {
    details: { worker_id: id, node },
    suggestion: 'give each worker an id of its own',
  });
}

function notReported(id: string): RbeeError {
  return new RbeeError('WORKER_NOT_FOUND', `no worker ${id} is registered`, {
    details: { worker_id: id },
    suggestion: 'register it again: POST /v2/workers/register',
  });
}

function homeless(id: string): RbeeError {
  return new RbeeError('INVALID_REQUEST', `the worker ${id} is not known: rbee_hive_url and node_name are needed`, {
    details: {
      errors: [
        { field: 'rbee_hive_url', constraint: 'required', message: 'needed for a worker that is not known yet' },
      ],
    },
    suggestion: 'register it first: POST /v2/workers/register',
  });
}
