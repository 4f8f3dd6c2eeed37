import type { LiveNode } from '../node/live-node.js';
import { Placer } from './place-task.js';
import type { NodeView, PendingStart, WorkerUsage } from './snapshot.js';

export interface Surroundings {
  readonly nodes: { all(): readonly LiveNode[] };
  /** Knows the workers that are being started on a node. */
  readonly starts: { pending(node: string): PendingStart[] };
}

/** Takes a snapshot of the nodes, for placing tasks by it. */
export function lookAtNodes({ nodes, starts }: Surroundings, usage: (workerId: string) => WorkerUsage): Placer {
  return new Placer(
    nodes.all().map((node): NodeView => ({ ...node.view(usage), starting: starts.pending(node.name) })),
  );
}
