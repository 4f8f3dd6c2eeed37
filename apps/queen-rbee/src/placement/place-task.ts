import { RbeeError } from '@rbee/protocol';
import { nodeNotFound } from '../registry/node-not-found.js';
import { ModelMatcher } from './same-model.js';
import type { NodeModelView, NodeView, Wanted, WorkerView } from './snapshot.js';

/** What to do with a task, and why (a phrase for the narration). */
export type Placement =
  /** Send it to this worker: a slot is free. */
  | { readonly action: 'use'; readonly node: string; readonly worker: string; readonly reason: string }
  /** Wait in this worker's queue. */
  | { readonly action: 'wait'; readonly node: string; readonly worker: string; readonly reason: string }
  /** Wait until this worker, which somebody else started, has loaded. */
  | { readonly action: 'follow'; readonly node: string; readonly worker: string; readonly reason: string }
  /** Wait for the worker that another task has started already. */
  | { readonly action: 'join'; readonly node: string; readonly start: string; readonly reason: string }
  | { readonly action: 'start_worker'; readonly node: string; readonly reason: string }
  /** Make a hive answer on this node; then place again. */
  | { readonly action: 'start_hive'; readonly node: string; readonly reason: string }
  | { readonly action: 'refuse'; readonly error: RbeeError };

/**
 * Decides where a task goes: a worker with a free slot (idle ones first, then most free slots, then longest idle), one
 * that is loading, a queue, and only then a new worker: on the node that has the model, then on one whose hive answers,
 * then on the one with least work and most free memory. A node that is in trouble gets only what asks for it by name.
 */
export function placeTask(wanted: Wanted, nodes: readonly NodeView[]): Placement {
  const candidates = nodes.filter((node) =>
    wanted.node === undefined ? findRefusal(wanted, node, nodes) === undefined : node.name === wanted.node,
  );
  if (wanted.node !== undefined && candidates.length === 0) {
    return { action: 'refuse', error: nodeNotFound(wanted.node, nodes) };
  }
  const matcher = new ModelMatcher(wanted.model);
  const matching = matchingWorkers(wanted, candidates, matcher);
  return (
    findWorker(matching) ??
    findStart(wanted, candidates, matching, matcher) ??
    findQueue(matching) ??
    chooseNode(wanted, nodes, matcher)
  );
}

interface Found {
  readonly node: NodeView;
  readonly worker: WorkerView;
  /** The start that the worker belongs to; until that has ended, tasks that wait for it come first. */
  readonly start: string | undefined;
}

/** Workers that run the wanted model in the wanted way, whatever their state. */
function matchingWorkers(wanted: Wanted, nodes: readonly NodeView[], matcher: ModelMatcher): Found[] {
  const found: Found[] = [];
  for (const node of nodes) {
    for (const worker of node.workers) {
      if (worker.backend !== wanted.backend || wanted.excluded?.has(worker.worker_id)) continue;
      if (wanted.device !== undefined && worker.device !== wanted.device) continue;
      if (!matcher.matches(worker.model_ref, node.models)) continue;
      found.push({ node, worker, start: node.starting.find((each) => each.worker === worker.worker_id)?.key });
    }
  }
  return found;
}

/** Slots that the queen itself counts as free; only these decide. */
function freeSlots(worker: WorkerView): number {
  return worker.slots_total - worker.inFlight - worker.waiting;
}

function findWorker(matching: readonly Found[]): Placement | undefined {
  const free = matching.filter(
    ({ worker, start }) =>
      start === undefined && (worker.state === 'idle' || worker.state === 'busy') && freeSlots(worker) > 0,
  );
  // What the hive reports also counts the jobs of others, so it is the better figure for choosing among several.
  const expected = (worker: WorkerView) => Math.min(worker.slots_available, freeSlots(worker));
  const [best] = free.sort(
    (a, b) =>
      Number(b.worker.state === 'idle') - Number(a.worker.state === 'idle') ||
      expected(b.worker) - expected(a.worker) ||
      (a.worker.lastEndedMs ?? 0) - (b.worker.lastEndedMs ?? 0),
  );
  if (!best) return undefined;
  const { node, worker } = best;
  const reason =
    worker.state === 'idle'
      ? `it has the model loaded, ${expected(worker)} of ${worker.slots_total} slots free`
      : `it has the model loaded, all its ${worker.slots_total} slots seem busy`;
  return { action: 'use', node: node.name, worker: worker.worker_id, reason };
}

function findStart(
  wanted: Wanted,
  nodes: readonly NodeView[],
  matching: readonly Found[],
  matcher: ModelMatcher,
): Placement | undefined {
  const reason = 'it is being started for another task';
  const started = matching.find(({ start }) => start !== undefined);
  if (started?.start) return { action: 'join', node: started.node.name, start: started.start, reason };
  for (const node of nodes) {
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

function findQueue(matching: readonly Found[]): Placement | undefined {
  const queues = matching.filter(({ worker }) => /^(idle|busy|unhealthy)$/.test(worker.state));
  const [best] = queues.sort(
    (a, b) =>
      Number(a.worker.state === 'unhealthy') - Number(b.worker.state === 'unhealthy') ||
      a.worker.waiting / a.worker.slots_total - b.worker.waiting / b.worker.slots_total,
  );
  if (!best) return undefined;
  const { node, worker } = best;
  const reason =
    worker.state === 'unhealthy'
      ? 'the worker does not answer its health checks'
      : `all ${worker.slots_total} slots of the worker are in use`;
  return { action: 'wait', node: node.name, worker: worker.worker_id, reason };
}

/** Why a node does not take part in a placement that may go anywhere; the only node there is is always asked itself. */
function findRefusal(wanted: Wanted, node: NodeView, nodes: readonly NodeView[]): string | undefined {
  return wanted.excludedNodes?.get(node.name) ?? (nodes.length > 1 ? node.trouble : undefined);
}

function chooseNode(wanted: Wanted, nodes: readonly NodeView[], matcher: ModelMatcher): Placement {
  const found = new Map(nodes.map((node) => [node, matcher.find(node.models)]));
  const hasModel = (node: NodeView) => found.get(node) !== undefined;
  // A hub model is the same everywhere: what one node knows of it says what another one will need.
  const size = matcher.wanted?.provider === 'hf' ? sizeOf([...found.values()]) : undefined;
  // A node that was asked for, or the only one, is not judged from here: its own check says more precisely what is missing.
  const judge = (node: NodeView) =>
    findRefusal(wanted, node, nodes) ??
    (nodes.length > 1
      ? (findUnfitness(wanted, node, found.get(node)?.size_bytes ?? size) ??
        (hasModel(node) ? undefined : findLackOfDisk(node, size)))
      : undefined);
  const judged =
    wanted.node === undefined
      ? nodes.map((node) => ({ node, unfit: judge(node) }))
      : nodes.filter(({ name }) => name === wanted.node).map((node) => ({ node, unfit: undefined }));
  const [best, ...others] = judged
    .filter(({ unfit }) => unfit === undefined)
    .map(({ node }) => node)
    .sort(
      (a, b) =>
        Number(hasModel(b)) - Number(hasModel(a)) ||
        Number(b.hiveUp) - Number(a.hiveUp) ||
        load(a) - load(b) ||
        freeMemory(wanted, b) - freeMemory(wanted, a) ||
        Number(b.link === 'local') - Number(a.link === 'local') ||
        a.name.localeCompare(b.name),
    );
  if (!best) {
    const reasons = judged.map(({ node, unfit }) => ({ node: node.name, reason: unfit }));
    return { action: 'refuse', error: noNodeFits(wanted, reasons) };
  }
  if (!best.hiveUp) return { action: 'start_hive', node: best.name, reason: 'no hive is known to run there' };
  const reason = hasModel(best)
    ? 'no worker has the model loaded, but it is in the catalog'
    : others.some(({ hiveUp }) => hiveUp)
      ? `no worker has the model loaded; it has least work and ${freeMemory(wanted, best)} MB free`
      : 'no worker has the model loaded';
  return { action: 'start_worker', node: best.name, reason };
}

/** Free memory in MB where the model would lie: of the device with most of it, or of the machine. */
function freeMemory(wanted: Wanted, { resources }: NodeView): number {
  if (wanted.backend === 'cpu') return resources?.ram_available_mb ?? 0;
  const devices = resources?.gpus.filter(
    ({ backend, index }) =>
      (backend ?? 'cuda') === wanted.backend && (wanted.device === undefined || wanted.device === index),
  );
  return Math.max(0, ...(devices ?? []).map(({ vram_free_mb }) => vram_free_mb));
}

function load(node: NodeView): number {
  return node.workers.reduce((sum, { inFlight, waiting }) => sum + inFlight + waiting, 0);
}

/** Why a worker for this model cannot run on a node; `undefined` when nothing speaks against it, or nothing is known. */
function findUnfitness(wanted: Wanted, node: NodeView, size: number | undefined): string | undefined {
  if (node.backends.length === 0) return undefined;
  const backend = node.backends.find(({ name, available }) => name === wanted.backend && available);
  if (!backend) {
    const present = node.backends.filter(({ available }) => available).map(({ name }) => name);
    return `it has no ${wanted.backend}, only ${present.join(', ') || 'nothing'}`;
  }
  if (wanted.device !== undefined && wanted.device >= backend.devices) {
    return `it has no ${wanted.backend} device ${wanted.device}, only ${backend.devices} of them`;
  }
  if (size === undefined || !node.resources) return undefined;
  const { ram_available_mb: ram, gpus } = node.resources;
  // File size in MB times 1.2, rounded up, computed in integers.
  const required = Math.ceil((size * 12) / (2 ** 20 * 10));
  if (ram < required) return `it has ${ram} MB free, ${required} MB are needed`;
  // The memory of devices is not always known.
  if (wanted.backend === 'cpu' || !gpus.some(({ backend }) => (backend ?? 'cuda') === wanted.backend)) return undefined;
  const free = freeMemory(wanted, node);
  if (free >= required) return undefined;
  const where = wanted.device === undefined ? `a ${wanted.backend} device` : `${wanted.backend}:${wanted.device}`;
  return `it has ${free} MB free on ${where}, ${required} MB are needed`;
}

/** Why a model that is still to come has no place on a node; `undefined` when it has, or when its size is not known. */
function findLackOfDisk({ resources }: NodeView, size: number | undefined): string | undefined {
  if (size === undefined || !resources) return undefined;
  const available = resources.disk_available_mb;
  const required = Math.ceil(size / 2 ** 20);
  return available < required ? `it has ${available} MB of disk free, ${required} MB are needed` : undefined;
}

function sizeOf(models: readonly (NodeModelView | undefined)[]): number | undefined {
  return models.find((model) => model !== undefined)?.size_bytes;
}

function noNodeFits(wanted: Wanted, nodes: readonly { node: string; reason: string | undefined }[]): RbeeError {
  const list = nodes.map(({ node, reason }) => `${node}: ${reason}`).join('; ');
  return new RbeeError(
    'NO_NODE_FITS',
    `no node can run ${wanted.model} on ${wanted.backend}: ${list || 'there is no node'}`,
    {
      details: { nodes },
      suggestion:
        'choose another backend, for example --backend cpu, or a smaller model; see how the nodes are: rbee-keeper hive status',
    },
  );
}
