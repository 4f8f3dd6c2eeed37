import { type Call, callJson, createNarrator, formatDuration, type Handlers, type Timeouts } from '@rbee/daemon-kit';
import { hiveRoutes, type queenRoutes, RbeeError } from '@rbee/protocol';
import type { LiveNode } from './node/live-node.js';
import type { NodeRouteParts } from './node-routes.js';
import type { WorkerReports } from './reported/worker-reports.js';
import { type SpawnParts, spawnWorker } from './worker/spawn-worker.js';

export interface WorkerRouteParts extends Pick<NodeRouteParts, 'clock' | 'nodes'>, Omit<SpawnParts, 'nodes'> {
  readonly timeouts: Timeouts;
  readonly reports: WorkerReports;
  /** Whether a command started this queen, which therefore ends with its last client, and how long after it. */
  readonly ephemeral: boolean;
  readonly keepAliveMs: number;
}

type WorkerRoutes = 'listWorkers' | 'workersHealth' | 'spawnWorker' | 'pinWorker' | 'shutdownWorker';

/** The handlers of the routes that are about the workers of nodes. */
export function workerHandlers(parts: WorkerRouteParts): Pick<Handlers<typeof queenRoutes>, WorkerRoutes> {
  const { clock, nodes, reports, timeouts } = parts;
  /** The node that has a worker. Throws WORKER_NOT_FOUND. */
  const requireOwner = async (workerId: string): Promise<LiveNode> => {
    await nodes.look(nodes.all());
    const node = nodes.findByWorker(workerId);
    if (node) return node;
    throw workerNotFound(workerId);
  };
  return {
    async listWorkers(call) {
      const { node, capability } = call.query;
      const selected = nodes.select(node);
      await nodes.glance(selected);
      const workers = [...selected.flatMap((each) => each.listWorkers()), ...reports.list(node)];
      const fits = (capabilities: string[]) =>
        capability === undefined || capabilities.some((one) => one === capability || one.startsWith(`${capability}:`));
      return { workers: workers.filter(({ capabilities }) => fits(capabilities)) };
    },

    async workersHealth(call) {
      const { node } = call.query;
      const selected = nodes.select(node);
      await nodes.look(selected);
      if (node !== undefined) requireReachable(nodes.get(node));
      const listed = [...selected.flatMap((each) => each.listWorkers()), ...reports.list(node)];
      const workers = listed.map(({ worker_id, state }) => ({ worker_id, state, ready: state === 'idle' }));
      const ill = workers.some(({ state }) => /^(unhealthy|failed|stale|stale-but-busy)$/.test(state));
      return { status: ill ? 'degraded' : 'ok', workers };
    },

    async spawnWorker(call, stream) {
      const { correlationId, signal } = call;
      const narrate = createNarrator({
        ...{ service: 'queen-rbee', clock, log: call.log },
        deliver: (event) => stream.send(event),
        fields: { correlation_id: correlationId },
      });
      const listener = {
        narrate,
        pass: (event: Parameters<typeof stream.send>[0]) =>
          void stream.send(event.type === 'narration' ? { ...event, correlation_id: correlationId } : event),
      };
      const { node, worker } = await spawnWorker(call.body, { correlationId, signal, listener }, parts);
      const { worker_id, url, state, pinned = false } = worker;
      if (parts.ephemeral && node.link.ownsHive) {
        const human = describeEnd(parts.keepAliveMs);
        narrate({ actor: 'queen-rbee', action: 'worker_ends', target: worker_id, level: 'warn', human });
      }
      stream.send({ type: 'end', worker_id, node: node.name, url, state, pinned });
    },

    async pinWorker(call) {
      const { worker_id, pinned } = call.body;
      const node = await requireOwner(worker_id);
      const worker = await callJson(node.link.hive, hiveRoutes.pinWorker, {
        params: { worker_id },
        body: { pinned },
        ...toCall(call, timeouts),
      });
      // The hive's own event may come later than the next question of who asked.
      await node.refreshWorker(worker_id, toCall(call, timeouts));
      return worker;
    },

    async shutdownWorker(call) {
      const { worker_id } = call.body;
      const node = await requireOwner(worker_id);
      const { message } = await callJson(node.link.hive, hiveRoutes.shutdownWorker, {
        params: { worker_id },
        ...toCall(call, timeouts),
      });
      return { success: true, message };
    },
  };
}

function toCall({ correlationId, signal }: Pick<Call, 'correlationId' | 'signal'>, { call: timeoutMs }: Timeouts) {
  return { correlationId, signal, timeoutMs };
}

/** What becomes of a worker whose queen was started by a command. */
function describeEnd(keepAliveMs: number): string {
  const when = keepAliveMs > 0 ? `, ${formatDuration(keepAliveMs)} after the last command` : ', after this command';
  return `the worker ends with this queen${when}; one that stays: rbee-keeper queen start`;
}

/** Nothing is known of workers on a machine that does not answer: that is not the same as being well. */
function requireReachable({ name, standing }: LiveNode): void {
  if (standing.status === 'reachable') return;
  const { reason = 'it has not answered yet' } = standing;
  throw new RbeeError('CONNECTION_TIMEOUT', `${name} cannot be reached: ${reason}`, {
    details: { node: name },
    suggestion: `see how it stands: rbee-keeper hive status --node ${name}`,
  });
}

function workerNotFound(workerId: string): RbeeError {
  return new RbeeError('WORKER_NOT_FOUND', `no node has a worker ${workerId}`, {
    details: { worker_id: workerId },
    suggestion: 'see which workers there are: rbee-keeper workers list',
  });
}
