import type { Backend, BackendStatus, Resources, Worker } from '@rbee/protocol';

/** What this queen counts itself of one worker. */
export interface WorkerUsage {
  /** Jobs that this queen has running on it. */
  readonly inFlight: number;
  /** Tasks that wait in this queen's queue for it. */
  readonly waiting: number;
  /** When the last of this queen's jobs there ended, on the steady clock; `undefined` when there was none. */
  readonly lastEndedMs: number | undefined;
}

/** One worker as placement sees it. */
export interface WorkerView
  extends WorkerUsage,
    Pick<Worker, 'worker_id' | 'model_ref' | 'backend' | 'device' | 'state' | 'slots_total' | 'slots_available'> {}

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

/** One node as placement sees it. What stands here is advisory: whoever acts on it checks again. */
export interface NodeView {
  readonly name: string;
  /** Whether its hive answers; without that nothing else is known about the node. */
  readonly hiveUp: boolean;
  readonly workers: readonly WorkerView[];
  readonly models: readonly { readonly model_ref: string; readonly size_bytes: number }[];
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
  /** Workers that the task has lost or that turned it away. */
  readonly excluded?: ReadonlySet<string>;
}
