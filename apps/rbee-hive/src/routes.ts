import {
  type Call,
  checkBearer,
  type EventStream,
  fingerprintOf,
  type Handlers,
  Reply,
  type Secret,
} from '@rbee/daemon-kit';
import { API_VERSION, type hiveRoutes, VERSION, type WorkerStartEvent } from '@rbee/protocol';
import type { HiveFeed } from './events/hive-feed.js';
import type { LogReader } from './logs/log-reader.js';
import { type ModelRouteParts, modelHandlers } from './model-routes.js';
import type { MachineProbe } from './probe/machine-probe.js';
import { toResources } from './probe/snapshot.js';
import { findWorkerBinaries } from './worker-binaries.js';
import type { Worker } from './workers/worker.js';
import type { WorkerLauncher } from './workers/worker-launcher.js';
import type { WorkerPool } from './workers/worker-pool.js';
import type { WorkerRestarts } from './workers/worker-restarts.js';

export interface RouteParts extends ModelRouteParts {
  pool: WorkerPool;
  launcher: WorkerLauncher;
  restarts: WorkerRestarts;
  probe: MachineProbe;
  feed: HiveFeed;
  logs: LogReader;
  /** The hive's own key, read for each call. */
  readonly key: Secret | undefined;
  /** Path of the worker program. */
  workerProgram: string;
  pid: number;
  /** Aborted when the hive ends, for streams that have no end of their own. */
  stopping: AbortSignal;
}

/** What the hive answers: each handler asks one owner and renders what it says. */
export function hiveHandlers(parts: RouteParts): Handlers<typeof hiveRoutes> {
  const { pool, launcher, probe, feed, logs, stopping } = parts;
  const accepted = (message: string) => new Reply({ message }, 202);

  /**
   * A worker calls back with its own key, also where the hive needs none of its callers: with the key of another worker nobody
   * speaks for it. A worker that the hive does not know the key of needs the hive's.
   */
  const checkWorkerKey = (workerId: string, { caller, headers, log }: Pick<Call, 'caller' | 'headers' | 'log'>) => {
    const key = pool.find(workerId)?.key ?? parts.key;
    if (key === undefined || caller === fingerprintOf(key)) return;
    checkBearer(headers.authorization as string | undefined, key, log, 'rbee-hive');
  };

  return {
    ...modelHandlers(parts),
    health: async () => ({ status: 'alive', version: VERSION, api_version: API_VERSION, pid: parts.pid }),
    events: ({ headers, signal }, stream) => {
      const lastId = headers['last-event-id'];
      stream.open();
      return feed.stream(stream, typeof lastId === 'string' ? lastId : undefined, signal);
    },
    listWorkers: async () => ({ workers: pool.list() }),
    getWorker: async ({ params }) => pool.get(params.worker_id).toDetail(),
    async spawnWorker({ body, correlationId }) {
      const leaving = pool.present.filter((worker) => worker.leaving);
      const answer = await (parts.restarts.join(body, leaving) ?? launcher.spawn(body, correlationId));
      return new Reply(answer, answer.state === 'provisioning' ? 202 : 200);
    },
    workerEvents: ({ params, signal }, stream) => writeStart(pool.get(params.worker_id), stream, signal),
    workerReady: async ({ body, ...call }) => {
      checkWorkerKey(body.worker_id, call);
      await pool.onReady(body);
      return { message: `worker ${body.worker_id} is known` };
    },
    heartbeat: async ({ body, ...call }) => {
      checkWorkerKey(body.worker_id, call);
      pool.onHeartbeat(body);
      return { message: 'ok' };
    },
    pinWorker: async ({ params, body }) => {
      const worker = pool.get(params.worker_id);
      worker.pin(body.pinned);
      return worker.toView();
    },
    shutdownWorker: async ({ params, log }) => {
      // One that was lost may have left the list, and only its new start is left to stop.
      if (parts.restarts.giveUp(params.worker_id) && !pool.find(params.worker_id)) {
        return accepted(`worker ${params.worker_id} is not started again`);
      }
      const worker = pool.get(params.worker_id);
      const stopped = worker.failed ? Promise.resolve() : worker.stop('requested');
      stopped.catch((error: unknown) => log.error({ error, worker_id: worker.id }, 'stopping a worker failed'));
      return accepted(`worker ${worker.id} is shutting down`);
    },
    listBackends: async () => ({ backends: [...(await probe.snapshot()).backends] }),
    listWorkerBinaries: async () => ({ binaries: await findWorkerBinaries(parts.workerProgram) }),
    resources: async () => toResources(await probe.snapshot()),
    logs: ({ query, signal }, stream) => logs.write(query, stream, AbortSignal.any([signal, stopping])),
  };
}

/** Writes how a worker's start went and goes on, from its beginning to its terminal event. */
async function writeStart(worker: Worker, stream: EventStream<WorkerStartEvent>, signal: AbortSignal): Promise<void> {
  const { journal } = worker.start;
  stream.open();
  for (let next = 1; ; ) {
    // Of a start with more events than are kept, the oldest are left out.
    const events = journal.since(next) ?? journal.since(journal.firstSeq) ?? [];
    for (const { event, seq } of events) {
      if (!stream.send(event, String(seq))) await stream.drained(signal);
      next = seq + 1;
    }
    if (journal.closed && next >= journal.nextSeq) return;
    if (events.length === 0) await journal.changed(signal);
  }
}
