import type { Backend, BackendStatus, LinkKind, Model, Resources, Worker } from '@rbee/protocol';

/** What this queen counts itself of one worker; may change after the snapshot was taken. */
export interface WorkerUsage {
  /** Jobs that this queen has running on it. */
  readonly inFlight: number;
  /** When the last of this queen's jobs there ended, on the steady clock; `undefined` when there was none. */
  readonly lastEndedMs: number | undefined;
}

/** One worker as placement sees it. */
export interface WorkerView
  extends WorkerUsage,
    Pick<Worker, 'worker_id' | 'model_ref' | 'backend' | 'device' | 'state' | 'slots_total' | 'slots_available'>,
    Partial<Pick<Worker, 'pinned' | 'model_digest' | 'memory_bytes'>> {}

/** A worker that is being started for some task; `device` is missing where the hive may choose. */
export interface PendingStart {
  /** Name of the start, to join it. */
  readonly key: string;
  readonly model: string;
  readonly backend: Backend;
  readonly device: number | undefined;
  /** Id of the worker, once its hive has given it one. */
  readonly worker: string | undefined;
}

/** One model in a node's catalog, as far as placement looks at it. */
export type NodeModelView = Pick<Model, 'provider' | 'reference' | 'variant' | 'local_path' | 'size_bytes'> &
  Partial<Pick<Model, 'digest'>>;

/** One node as placement sees it. What stands here is advisory: whoever acts on it checks again. */
export interface NodeView {
  readonly name: string;
  readonly link: LinkKind;
  /** Whether its hive answers; without that its workers, models and resources are not known. */
  readonly hiveUp: boolean;
  /** Why no work is placed there unless it was asked for by name; `undefined` when nothing speaks against it. */
  readonly trouble: string | undefined;
  readonly workers: readonly WorkerView[];
  readonly models: readonly NodeModelView[];
  /** What its hive says or, where that is away, what was known last. */
  readonly backends: readonly BackendStatus[];
  readonly resources: Resources | undefined;
  readonly starting: readonly PendingStart[];
}

/** What a task needs. */
export interface Wanted {
  readonly node?: string | undefined;
  readonly model: string;
  readonly backend: Backend;
  readonly device?: number | undefined;
  /** SHA-256 that the model must have: the task goes on with what another worker has generated. */
  readonly digest?: string | undefined;
  /** Workers that the task has lost or that turned it away. */
  readonly excluded?: ReadonlySet<string>;
  /** Nodes that could not serve the task, with the reason; they count only where no node was asked for. */
  readonly excludedNodes?: ReadonlyMap<string, string>;
}
