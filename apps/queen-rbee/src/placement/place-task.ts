import { nodeNotFound } from '../registry/node-not-found.js';
import { chooseNode, findRefusal, type NodeChoice } from './choose-node.js';
import { ModelMatcher } from './same-model.js';
import type { NodeView, Wanted } from './snapshot.js';
import { type FoundWorker, WorkerIndex } from './worker-index.js';

/** A worker that a task may wait for. */
export interface WaitedFor {
  readonly id: string;
  /** Jobs that it takes at a time; 0 while it takes none. */
  readonly slots: number;
  /** Jobs that this queen has running on it. */
  readonly busy: number;
}

/** What to do with a task, and why (a phrase for the narration). */
export type Placement =
  /** Send it to this worker: a slot is free. */
  | { readonly action: 'use'; readonly node: string; readonly worker: string; readonly reason: string }
  /** Wait in the queue until one of these workers, the most promising first, has a slot; the node is that of the first. */
  | { readonly action: 'wait'; readonly node: string; readonly workers: readonly WaitedFor[]; readonly reason: string }
  /** Wait until this worker, which somebody else started, has loaded. */
  | { readonly action: 'follow'; readonly node: string; readonly worker: string; readonly reason: string }
  /** Wait for the worker that another task has started already. */
  | { readonly action: 'join'; readonly node: string; readonly start: string; readonly reason: string }
  | NodeChoice;

/**
 * Decides where a task goes: a worker with a free slot (idle ones first, then most free slots, then longest idle), one
 * that is loading, the queue, and only then a new worker: on a node with room for it, then on one that can make room, and of these on
 * the one that has the model, then on one whose hive answers, then on the one with least work and most free memory. A node that
 * is in trouble gets only what asks for it by name.
 */
export function placeTask(wanted: Wanted, nodes: readonly NodeView[]): Placement {
  return new Placer(nodes).place(wanted);
}

/** Places several tasks, as `placeTask` does, by one snapshot of the nodes; what is counted of their workers stays up to date. */
export class Placer {
  readonly #nodes: readonly NodeView[];
  readonly #starting: readonly NodeView[];
  readonly #workers: WorkerIndex;

  constructor(nodes: readonly NodeView[]) {
    this.#nodes = nodes;
    this.#starting = nodes.filter(({ starting }) => starting.length > 0);
    this.#workers = new WorkerIndex(nodes);
  }

  place(wanted: Wanted): Placement {
    const nodes = this.#nodes;
    if (wanted.node !== undefined && !nodes.some(({ name }) => name === wanted.node)) {
      return { action: 'refuse', error: nodeNotFound(wanted.node, nodes) };
    }
    const mayGo = (node: NodeView) =>
      wanted.node === undefined ? findRefusal(wanted, node, nodes) === undefined : node.name === wanted.node;
    const matcher = new ModelMatcher(wanted.model);
    const matching = this.#workers.matching(wanted, matcher, mayGo);
    return (
      findWorker(matching) ??
      findStart(wanted, this.#starting.filter(mayGo), matching, matcher) ??
      findQueue(matching) ??
      chooseNode(wanted, nodes, matcher)
    );
  }
}

/** Slots that the queen itself counts as free; only these decide. */
function freeSlots({ worker }: FoundWorker): number {
  return worker.slots_total - worker.inFlight;
}

/** What the hive reports also counts the jobs of others, so it is the better figure for choosing among several. */
function expectedSlots(found: FoundWorker): number {
  return Math.min(found.worker.slots_available, freeSlots(found));
}

function findWorker(matching: readonly FoundWorker[]): Placement | undefined {
  const free = matching.filter(
    (found) =>
      found.start === undefined &&
      (found.worker.state === 'idle' || found.worker.state === 'busy') &&
      freeSlots(found) > 0,
  );
  const best = first(
    free,
    (a, b) =>
      Number(b.worker.state === 'idle') - Number(a.worker.state === 'idle') ||
      expectedSlots(b) - expectedSlots(a) ||
      (a.worker.lastEndedMs ?? 0) - (b.worker.lastEndedMs ?? 0),
  );
  if (!best) return undefined;
  const { node, worker } = best;
  const reason =
    worker.state === 'idle'
      ? `it has the model loaded, ${expectedSlots(best)} of ${worker.slots_total} slots free`
      : 'one of its slots has just come free';
  return { action: 'use', node: node.name, worker: worker.worker_id, reason };
}

function findStart(
  wanted: Wanted,
  nodes: readonly NodeView[],
  matching: readonly FoundWorker[],
  matcher: ModelMatcher,
): Placement | undefined {
  const reason = 'it is being started for another task';
  const started = matching.find(({ start }) => start !== undefined);
  if (started?.start) return { action: 'join', node: started.node.name, start: started.start, reason };
  for (const node of nodes) {
    if (wanted.digest !== undefined && matcher.find(node.models)?.digest !== wanted.digest) continue;
    const start = node.starting.find(
      ({ model, backend, device, worker }) =>
        backend === wanted.backend &&
        (wanted.device === undefined || wanted.device === device) &&
        matcher.matches(model, node.models) &&
        !(worker !== undefined && wanted.excluded?.has(worker)),
    );
    if (start) return { action: 'join', node: node.name, start: start.key, reason };
  }
  const loading = matching.find(({ worker }) => /^(provisioning|starting|loading)$/.test(worker.state));
  if (!loading) return undefined;
  const { node, worker } = loading;
  return { action: 'follow', node: node.name, worker: worker.worker_id, reason: 'it is loading the model' };
}

function findQueue(matching: readonly FoundWorker[]): Placement | undefined {
  const found = matching.filter(({ worker }) => /^(idle|busy|unhealthy)$/.test(worker.state));
  const isIll = ({ worker }: FoundWorker) => worker.state === 'unhealthy';
  const best = first(
    found,
    (a, b) =>
      Number(isIll(a)) - Number(isIll(b)) ||
      a.worker.inFlight / a.worker.slots_total - b.worker.inFlight / b.worker.slots_total,
  );
  if (!best) return undefined;
  const workers = [best, ...found.filter((each) => each !== best)].map((each) => ({
    id: each.worker.worker_id,
    slots: isIll(each) ? 0 : each.worker.slots_total,
    busy: each.worker.inFlight,
  }));
  return { action: 'wait', node: best.node.name, workers, reason: toWaitReason(workers) };
}

/** The one that comes first in an order; of equals the first given. */
function first<T>(given: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  return given.reduce<T | undefined>(
    (best, each) => (best === undefined || compare(each, best) < 0 ? each : best),
    undefined,
  );
}

function toWaitReason(workers: readonly WaitedFor[]): string {
  const well = workers.filter(({ slots }) => slots > 0);
  const slots = well.reduce((sum, each) => sum + each.slots, 0);
  if (well.length === 0) {
    return workers.length === 1
      ? 'the worker does not answer its health checks'
      : `${workers.length} workers do not answer their health checks`;
  }
  const whose = well.length === 1 ? 'the worker' : `${well.length} workers`;
  return slots === 1 ? `the only slot of ${whose} is in use` : `all ${slots} slots of ${whose} are in use`;
}
