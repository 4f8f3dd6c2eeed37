import type { Backend, RbeeError, WorkerDetail, WorkerState, Worker as WorkerView } from '@rbee/protocol';
import { bytesHeld, type Footprint } from '../preflight/footprint.js';

/** What is settled about a worker. Where it listens is, once its model is there. */
export interface WorkerIdentity {
  readonly workerId: string;
  /** Empty until then. */
  readonly url: string;
  readonly modelRef: string;
  readonly backend: Backend;
  readonly device: number;
  /** False for a worker that reported itself without having been started by this hive. */
  readonly owned: boolean;
  /** Whether it stays loaded: no idle timeout, no making room for others, and a new start when it is lost. */
  readonly pinned?: boolean | undefined;
}

type BaseState = Extract<
  WorkerState,
  'provisioning' | 'starting' | 'loading' | 'idle' | 'busy' | 'draining' | 'failed'
>;

/** The figures of one worker; its `Worker` alone changes them. */
export class WorkerStatus {
  state: BaseState;
  slotsTotal = 1;
  slotsAvailable = 0;
  failedHealthChecks = 0;
  /** How many workers before this one were lost and started again. */
  restartCount = 0;
  /** Jobs that run now, as it told last. */
  jobsActive: number | undefined;
  pid: number | undefined;
  lastError: RbeeError | undefined;
  /** SHA-256 of its model, where the catalog knows it. */
  modelDigest: string | undefined;
  /** What the worker holds: as estimated before its start, then as measured by its engine. */
  footprint: Footprint | undefined;
  /** Milliseconds since the epoch; `undefined` while no job has ended. */
  lastJobEndedAt: number | undefined;

  constructor(
    public identity: WorkerIdentity,
    /** Milliseconds since the epoch. */
    public lastActivity: number,
  ) {
    this.state = identity.url === '' ? 'provisioning' : 'starting';
  }

  /** Whether jobs can be sent, though perhaps not at this moment. */
  get serving(): boolean {
    return this.state === 'idle' || this.state === 'busy';
  }

  /** Whether no job runs, as far as the worker has told. */
  get unoccupied(): boolean {
    return this.slotsAvailable === this.slotsTotal;
  }

  /** The state as others see it: failed health checks hide what the worker does otherwise. */
  get shown(): WorkerState {
    const checked = this.serving || this.state === 'loading';
    return checked && this.failedHealthChecks > 0 ? 'unhealthy' : this.state;
  }

  toView(): WorkerView {
    const { workerId, url, modelRef, backend, device, owned, pinned = false } = this.identity;
    return {
      id: workerId,
      worker_id: workerId,
      url,
      model_ref: modelRef,
      backend,
      device,
      state: this.shown,
      slots_total: this.slotsTotal,
      slots_available: this.serving ? this.slotsAvailable : 0,
      last_activity: new Date(this.lastActivity).toISOString(),
      pid: this.pid,
      restart_count: this.restartCount,
      failed_health_checks: this.failedHealthChecks,
      owned,
      pinned,
      model_digest: this.modelDigest,
      memory_bytes: this.footprint && bytesHeld(this.footprint, backend),
      last_job_ended_at: this.lastJobEndedAt === undefined ? undefined : new Date(this.lastJobEndedAt).toISOString(),
    };
  }

  toDetail(apiKey: string | undefined): WorkerDetail {
    const error = this.lastError;
    return {
      ...this.toView(),
      api_key: apiKey,
      last_error: error && { code: error.code, message: error.message, details: error.details },
    };
  }
}
