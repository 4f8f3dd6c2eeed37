import { orAborted } from '@rbee/daemon-kit';
import { isRbeeError, type QueenSpawn, RbeeError, type Worker } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import { type Placement, placeTask } from '../placement/place-task.js';
import type { Wanted, WorkerUsage } from '../placement/snapshot.js';
import { isHiveOrWayLost, isNodeTrouble } from '../task/failures.js';
import type { Waiting, WorkerStarts } from './worker-starts.js';

/** How often a node is looked for; each time a hive was started, or a node has turned out not to do. */
const MOST_ROUNDS = 20;
/** How often a hive may go away under the start before that is the answer. */
const MOST_LOSSES = 5;

export interface SpawnParts {
  readonly nodes: Nodes;
  readonly starts: WorkerStarts;
  /** What the queen counts of each worker: the node with least work is preferred. */
  readonly usage: (workerId: string) => WorkerUsage;
}

/**
 * Starts one more worker, whatever runs already: on the node that was asked for, or where a task would have it started. A node
 * that cannot is left for the next one, unless it was asked for. Throws what stood in the way, NODE_NOT_FOUND or NO_NODE_FITS. A
 * start goes on when the caller has gone; a model that is on its way for nobody else does not.
 */
export async function spawnWorker(
  request: QueenSpawn,
  waiting: Waiting,
  { nodes, starts, usage }: SpawnParts,
): Promise<{ node: LiveNode; worker: Worker }> {
  const { node: wantedNode, model, backend, device, ...ahead } = request;
  const { signal, listener } = waiting;
  if (wantedNode === undefined) await orAborted(nodes.look(nodes.all()), signal);
  const excludedNodes = new Map<string, string>();
  const wanted: Wanted = { node: wantedNode, model, backend, device, excludedNodes };
  const place = (): Placement => {
    const running = nodes.all().flatMap((node) => node.listWorkers());
    // Whatever runs or starts is not what was asked for.
    const excluded = new Set(running.map(({ worker_id }) => worker_id));
    const views = nodes.all().map((node) => ({ ...node.view(usage), starting: [] }));
    return placeTask({ ...wanted, excluded }, views);
  };
  let losses = 0;
  let told: string | undefined;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const placement = place();
    if (placement.action === 'refuse') throw placement.error;
    const node = nodes.get(placement.node);
    if (wantedNode === undefined && nodes.all().length > 1 && told !== node.name) {
      told = node.name;
      const human = `placing the worker on ${node.name}: ${placement.reason}`;
      listener.narrate({ actor: 'queen-rbee', action: 'worker_placed', target: node.name, human });
    }
    try {
      if (placement.action === 'start_hive') {
        await node.provideHive(listener.narrate, signal);
        continue;
      }
      const id = await starts.startAnother(node, wanted, ahead, waiting);
      const worker = node.worker(id);
      if (worker) return { node, worker };
      throw new RbeeError('WORKER_NOT_FOUND', `worker ${id} has gone again`, { details: { worker_id: id } });
    } catch (error) {
      signal.throwIfAborted();
      if (!isRbeeError(error)) throw error;
      if (isHiveLost(error) && losses++ < MOST_LOSSES) continue;
      if (wantedNode !== undefined || !isNodeTrouble(error)) throw error;
      excludedNodes.set(node.name, error.message);
      const next = place();
      // With a single machine there is nothing to compare: what failed says it best.
      if (next.action === 'refuse') throw excludedNodes.size > 1 ? next.error : error;
      const human = `${node.name} cannot start the worker: ${error.message}`;
      listener.narrate({ actor: 'queen-rbee', action: 'retry', target: node.name, level: 'warn', human });
    }
  }
  throw new RbeeError('WORKER_SPAWN_FAILED', `no node kept a hive long enough to start a worker for ${model}`, {
    suggestion: 'see how the nodes are: rbee-keeper hive status',
  });
}

/** Whether the hive went away, rather than that it was never reached or gave an answer. */
function isHiveLost(error: RbeeError): boolean {
  const { code, details } = error;
  if (isHiveOrWayLost(error)) return true;
  return code === 'WORKER_CONNECTION_LOST' || (code === 'CONNECTION_TIMEOUT' && details.attempts === undefined);
}
