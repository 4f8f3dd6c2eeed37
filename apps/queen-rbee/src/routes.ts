import { type Clock, callText, type Handlers, type Logger, type Timeouts } from '@rbee/daemon-kit';
import { hiveRoutes, type queenRoutes, RbeeError, VERSION } from '@rbee/protocol';
import type { Leases } from './lease/leases.js';
import { type ModelRouteParts, modelHandlers } from './model-routes.js';
import type { LiveNode } from './node/live-node.js';
import type { Nodes } from './node/nodes.js';
import { type NodeRouteParts, nodeHandlers } from './node-routes.js';
import { reportHandlers } from './report-routes.js';
import type { WorkerReports } from './reported/worker-reports.js';
import type { Tasks } from './task/tasks.js';
import { taskHandlers } from './task-routes.js';
import { type WorkerRouteParts, workerHandlers } from './worker-routes.js';

export interface RouteParts
  extends Omit<NodeRouteParts, 'clock' | 'nodes'>,
    Omit<ModelRouteParts, 'clock' | 'nodes'>,
    Omit<WorkerRouteParts, 'clock' | 'nodes'> {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly log: Logger;
  readonly pid: number;
  readonly ephemeral: boolean;
  readonly nodes: Nodes;
  readonly tasks: Tasks;
  readonly leases: Leases;
  readonly reports: WorkerReports;
}

/** The handlers of the queen's routes. */
export function queenHandlers(parts: RouteParts): Handlers<typeof queenRoutes> {
  const { timeouts, pid, ephemeral, nodes, leases } = parts;
  return {
    ...nodeHandlers(parts),
    ...modelHandlers(parts),
    ...taskHandlers(parts),
    ...workerHandlers(parts),
    ...reportHandlers(parts.reports),
    health: async () => ({ status: 'ok', version: VERSION, pid }),

    async logs(call, stream) {
      const { node: name, follow, lines, worker_id } = call.query;
      const node = nodes.get(name);
      await node.link.reach(() => undefined, call.signal);
      if (!(await node.link.findHive(call.signal))) throw noHiveRuns(node);
      const { correlationId, signal } = call;
      const body = await callText(node.link.hive, hiveRoutes.logs, {
        query: { follow: follow ? 'true' : 'false', lines, worker_id },
        correlationId,
        signal,
        timeoutMs: timeouts.call,
      });
      const decoder = new TextDecoder();
      for await (const chunk of body) {
        if (!stream.write(decoder.decode(chunk, { stream: true }))) await stream.drained(signal);
      }
    },

    async lease(call, stream) {
      const { id, over } = leases.open();
      const leave = () => leases.release(id, 'the client has gone');
      call.signal.addEventListener('abort', leave, { once: true });
      if (call.signal.aborted) leave();
      stream.send({ type: 'leased', lease_id: id, version: VERSION, pid, ephemeral });
      stream.send({ type: 'end', reason: await over });
    },

    releaseLease: async (call) => ({ ending: leases.release(call.params.lease_id, 'released by the client') }),
  };
}

function noHiveRuns(node: LiveNode): RbeeError {
  const { url } = node.link.hive.transport.peer;
  const port = Number(new URL(url).port);
  const elsewhere = node.link.kind === 'local' ? '' : ` on ${node.name}`;
  return new RbeeError(
    'CONNECTION_TIMEOUT',
    `no hive runs on ${node.name} (port ${port} refuses), so it has no logs to show`,
    {
      details: { node: node.name, port },
      suggestion: `start one: rbee-keeper hive start --node ${node.name}; earlier logs are in ~/.rbee/logs${elsewhere}`,
    },
  );
}
