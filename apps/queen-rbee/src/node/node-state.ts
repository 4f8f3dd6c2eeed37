import { type Clock, Secret } from '@rbee/daemon-kit';
import type { BackendStatus, GlobalWorker, HiveEvent, Model, Resources, Worker, WorkerChange } from '@rbee/protocol';
import type { NodeView, WorkerUsage, WorkerView } from '../placement/snapshot.js';

type Snapshot = Extract<HiveEvent, { type: 'snapshot' }>;

/** Warnings of one hive that are kept. */
const MOST_WARNINGS = 20;
/** Workers that have gone are remembered for as long as an answer about them may be on its way. */
const MOST_REMOVED = 256;

/** What is known of one node: its workers with their keys, its models, backends and resources. Only its `LiveNode` changes it. */
export class NodeState {
  readonly #clock: Clock;
  readonly #workers = new Map<string, Worker & { seenAt: number }>();
  readonly #models = new Map<string, Model>();
  readonly #keys = new Map<string, Secret | undefined>();
  /** Workers that have gone; an answer that was on its way then must not bring them back. */
  readonly #removed = new Set<string>();
  /** The workers and models as placement looks at them, until something changes. */
  #seen: Seen | undefined;
  backends: readonly BackendStatus[] = [];
  resources: Resources | undefined;
  /** What the hive wants its user to know. */
  warnings: readonly string[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get workerCount(): number {
    return this.#workers.size;
  }

  get modelCount(): number {
    return this.#models.size;
  }

  get models(): Model[] {
    return [...this.#models.values()];
  }

  worker(id: string): Worker | undefined {
    return this.#workers.get(id);
  }

  /** Takes the place of everything known; keys of workers that are still there stay. */
  replace({ workers, models, backends, resources, warnings }: Snapshot): void {
    this.clear();
    this.#removed.clear();
    for (const worker of workers) this.keepWorker(worker);
    for (const id of this.#keys.keys()) if (!this.#workers.has(id)) this.#keys.delete(id);
    this.replaceModels(models);
    this.backends = backends;
    this.resources = resources;
    this.warnings = warnings?.slice(-MOST_WARNINGS) ?? [];
  }

  keepWorker(worker: Worker): void {
    this.#workers.set(worker.worker_id, { ...worker, seenAt: this.#clock.now() });
    this.#seen = undefined;
  }

  /** Takes what an answer of the hive says of a worker, unless its event stream has told since that the worker has gone. */
  learnWorker(worker: Worker): void {
    if (!this.#removed.has(worker.worker_id)) this.keepWorker(worker);
  }

  /** The hive's event stream tells that a worker has gone; false when it was not known. */
  removeWorker(id: string): boolean {
    this.#removed.add(id);
    const [oldest] = this.#removed;
    if (this.#removed.size > MOST_REMOVED && oldest !== undefined) this.#removed.delete(oldest);
    return this.forgetWorker(id);
  }

  /** Changes a worker that is known, upon something that was heard of it; false when it is not known. */
  noteWorker(id: string, { state, slots_available }: WorkerChange): boolean {
    const worker = this.#workers.get(id);
    if (!worker) return false;
    const { state: before, slots_available: slotsBefore } = worker;
    this.keepWorker({ ...worker, state: state ?? before, slots_available: slots_available ?? slotsBefore });
    return true;
  }

  /** Marks a worker that does not answer: its jobs may end, new ones do not come. */
  markStale(id: string): void {
    const worker = this.#workers.get(id);
    if (worker) worker.state = 'stale-but-busy';
    this.#seen = undefined;
  }

  /** Ids of the workers that take jobs and of which nothing was heard since a moment. */
  silentSince(moment: number): string[] {
    const silent = [...this.#workers.values()].filter(
      ({ seenAt, state }) => seenAt < moment && /^(idle|busy|stale-but-busy)$/.test(state),
    );
    return silent.map(({ worker_id }) => worker_id);
  }

  /** False when it was not known. */
  forgetWorker(id: string): boolean {
    this.#keys.delete(id);
    this.#seen = undefined;
    return this.#workers.delete(id);
  }

  /** Takes a warning of the hive; of many only the newest are kept. */
  warn(text: string): void {
    this.warnings = [...this.warnings, text].slice(-MOST_WARNINGS);
  }

  keepModel(model: Model): void {
    this.#models.set(model.id, model);
    this.#seen = undefined;
  }

  /** Takes the place of every model that was known. */
  replaceModels(models: readonly Model[]): void {
    this.#models.clear();
    this.#seen = undefined;
    for (const model of models) this.keepModel(model);
  }

  forgetModel(id: string): void {
    this.#models.delete(id);
    this.#seen = undefined;
  }

  keepKey(id: string, key: string | undefined): void {
    this.#keys.set(id, key === undefined ? undefined : new Secret(key).remember());
  }

  /** Whether it is known which key a worker needs, which may be none. */
  knowsKey(id: string): boolean {
    return this.#keys.has(id);
  }

  key(id: string): Secret | undefined {
    return this.#keys.get(id);
  }

  clear(): void {
    this.#workers.clear();
    this.#models.clear();
    this.#seen = undefined;
    this.backends = [];
    this.resources = undefined;
    this.warnings = [];
  }

  /** The part of the node's view that stands here. Placement asks for it again and again, so it is made anew only after a change. */
  view(usage: (workerId: string) => WorkerUsage): Pick<NodeView, 'workers' | 'models' | 'backends' | 'resources'> {
    if (this.#seen?.usage !== usage) {
      const workers = [...this.#workers.values()].map((worker) => toView(worker, usage));
      this.#seen = { usage, workers, models: this.models };
    }
    const { workers, models } = this.#seen;
    return { workers, models, backends: this.backends, resources: this.resources };
  }

  /** The workers as the queen lists them. */
  listWorkers(node: string, hiveUrl: string): GlobalWorker[] {
    return [...this.#workers.values()].map((worker) => ({
      worker_id: worker.worker_id,
      node,
      url: worker.url,
      model_ref: worker.model_ref,
      state: worker.state,
      backend: worker.backend,
      device: worker.device,
      slots_total: worker.slots_total,
      slots_available: worker.slots_available,
      capabilities: [`${worker.backend}:${worker.device}`],
      models_loaded: worker.state === 'idle' || worker.state === 'busy' ? [worker.model_ref] : [],
      rbee_hive_url: hiveUrl,
      last_heartbeat_unix: Math.floor(worker.seenAt / 1000),
      pinned: worker.pinned,
    }));
  }
}

interface Seen {
  readonly usage: (workerId: string) => WorkerUsage;
  readonly workers: readonly WorkerView[];
  readonly models: readonly Model[];
}

/** A worker for placement; what the queen counts of it stays up to date. */
export function toView(
  worker: Omit<WorkerView, keyof WorkerUsage>,
  usage: (workerId: string) => WorkerUsage,
): WorkerView {
  const { worker_id } = worker;
  return {
    worker_id,
    model_ref: worker.model_ref,
    backend: worker.backend,
    device: worker.device,
    state: worker.state,
    slots_total: worker.slots_total,
    slots_available: worker.slots_available,
    pinned: worker.pinned,
    model_digest: worker.model_digest,
    memory_bytes: worker.memory_bytes,
    get inFlight() {
      return usage(worker_id).inFlight;
    },
    get lastEndedMs() {
      return usage(worker_id).lastEndedMs;
    },
  };
}
