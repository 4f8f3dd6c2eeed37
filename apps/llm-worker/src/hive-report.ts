import type { WorkerSettings } from './config.js';
import type { WorkerReport } from './hive-link.js';
import type { Jobs } from './jobs.js';
import { toTime } from './routes.js';
import type { WorkerStatus } from './worker-status.js';

/** What a worker tells its hive about itself. */
export function toReport(facts: {
  settings: WorkerSettings;
  status: WorkerStatus;
  jobs: Jobs;
  url: string;
  pid: number;
}): WorkerReport {
  const { settings, status, jobs, url, pid } = facts;
  return {
    callback() {
      const { state, failure } = status;
      return {
        url,
        model_ref: settings.modelRef,
        backend: settings.backend,
        device: settings.device,
        state: state === 'error' ? 'failed' : state,
        vram_bytes: status.vramBytes,
        memory: status.memory,
        slots_total: status.slotsTotal,
        slots_available: status.slotsAvailable,
        pid,
        error: failure && { code: failure.code, message: failure.message, details: failure.details },
      };
    },
    heartbeat() {
      const { state } = status;
      return {
        health_status: state === 'error' ? 'degraded' : 'healthy',
        state: state === 'error' ? undefined : state,
        slots_available: status.slotsAvailable,
        jobs_active: jobs.active,
        last_job_ended_at: toTime(jobs.lastEndedAt),
      };
    },
  };
}
