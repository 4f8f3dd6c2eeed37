import { type Handlers, Reply } from '@rbee/daemon-kit';
import type { queenRoutes } from '@rbee/protocol';
import type { WorkerReports } from './reported/worker-reports.js';

type ReportRoutes = Pick<
  Handlers<typeof queenRoutes>,
  'registerWorker' | 'reportReady' | 'changeWorker' | 'forgetWorker' | 'beatWorker'
>;

/** The handlers of the routes by which hives report their workers. */
export function reportHandlers(reports: WorkerReports): ReportRoutes {
  const taken = (worker_id: string, message: string) => ({ success: true as const, message, worker_id });
  return {
    async registerWorker({ body }) {
      const isNew = reports.register(body);
      return new Reply(taken(body.worker_id, isNew ? 'registered' : 'known already'), isNew ? 201 : 200);
    },

    async reportReady({ body }) {
      reports.ready(body);
      return taken(body.worker_id, 'noted as ready');
    },

    async changeWorker({ params: { worker_id }, body }) {
      reports.change(worker_id, body);
      return taken(worker_id, 'changed');
    },

    async forgetWorker({ params: { worker_id } }) {
      reports.remove(worker_id);
    },

    async beatWorker({ params: { worker_id }, body }) {
      reports.change(worker_id, body);
      return taken(worker_id, 'noted');
    },
  };
}
