import { type Handlers, Reply, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import { RbeeError, type ReadyStatus, type workerRoutes } from '@rbee/protocol';
import { type InferenceParts, infer } from './inference.js';
import type { LoadFeed } from './load-feed.js';

export interface WorkerParts extends InferenceParts {
  readonly feed: LoadFeed;
  readonly startedAt: number;
  readonly timeouts: Pick<Timeouts, 'inference' | 'reader_stall' | 'cancel_ack' | 'canary_answer'>;
  /** Begins the shutdown. */
  readonly shutDown: (reason: string) => void;
}

/** What each route of a worker does. */
export function workerHandlers(parts: WorkerParts): Handlers<typeof workerRoutes> {
  const { status, jobs, feed, clock } = parts;
  return {
    async health() {
      return {
        status: status.state === 'error' ? ('unhealthy' as const) : ('healthy' as const),
        vram_bytes: status.vramBytes,
        uptime_seconds: Math.floor((clock.monotonic() - parts.startedAt) / 1000),
        threads: status.threads,
        step_ms: status.stepMs === undefined ? undefined : Math.round(status.stepMs),
      };
    },

    async ready() {
      return readReadyStatus(parts);
    },

    async loadingProgress(call, stream) {
      stream.open();
      for await (const progress of feed.follow(call.signal)) {
        if (!stream.send(progress)) await stream.drained(call.signal);
      }
    },

    infer: (call, stream) => infer(parts, call, stream),

    async cancel(call) {
      const { request_id: id } = call.params;
      const reason = new RbeeError('CANCELLED', 'the job was cancelled', { details: { job_id: id } });
      const { cancel_ack: limit } = parts.timeouts;
      const late = (): RbeeError =>
        new RbeeError('INFERENCE_TIMEOUT', `the engine did not let go of job ${id} within ${limit} ms`);
      await withTimeout(clock, limit, jobs.cancel(id, reason), late);
    },

    async canary() {
      const engine = status.requireEngine();
      const { canary_answer: limit } = parts.timeouts;
      const late = (): RbeeError =>
        new RbeeError('INFERENCE_TIMEOUT', `the engine did not evaluate a single token within ${limit} ms`);
      const start = clock.monotonic();
      const passed = await withTimeout(clock, limit, engine.probe(), late);
      const ms = Math.round((clock.monotonic() - start) * 100) / 100;
      return { outcome: passed ? ('passed' as const) : ('busy' as const), ms };
    },

    async shutdown(call) {
      const { only_if_idle_ms: idleMs } = call.body;
      const idleFor = clock.now() - (jobs.lastEndedAt ?? Number.NEGATIVE_INFINITY);
      if (idleMs !== undefined && status.state !== 'draining' && (jobs.active > 0 || idleFor < idleMs)) {
        return new Reply({ message: 'not shutting down: the worker is in use', draining: false }, 200);
      }
      parts.shutDown('request');
      return { message: 'shutting down', draining: true };
    },
  };
}

function readReadyStatus({ status, jobs }: Pick<WorkerParts, 'status' | 'jobs'>): ReadyStatus {
  const { state, failure } = status;
  const serving = state === 'idle' || state === 'busy';
  return {
    ready: serving,
    state,
    model_loaded: serving ? true : undefined,
    progress_url: state === 'loading' ? '/v1/loading/progress' : undefined,
    slots_total: status.slotsTotal,
    slots_available: status.slotsAvailable,
    last_job_ended_at: toTime(jobs.lastEndedAt),
    error: failure && { code: failure.code, message: failure.message, details: failure.details },
  };
}

/** A moment for the wire. */
export function toTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
