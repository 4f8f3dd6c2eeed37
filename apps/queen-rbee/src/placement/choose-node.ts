import { RbeeError } from '@rbee/protocol';
import type { ModelMatcher } from './same-model.js';
import type { NodeModelView, NodeView, Wanted } from './snapshot.js';

/** What has to happen on which node before there is a worker for a task. */
export type NodeChoice =
  | { readonly action: 'start_worker'; readonly node: string; readonly reason: string }
  /** Make a hive answer on this node; then place again. */
  | { readonly action: 'start_hive'; readonly node: string; readonly reason: string }
  | { readonly action: 'refuse'; readonly error: RbeeError };

/** Why a node does not take part in a placement that may go anywhere; the only node there is is always asked itself. */
export function findRefusal(wanted: Wanted, node: NodeView, nodes: readonly NodeView[]): string | undefined {
  return wanted.excludedNodes?.get(node.name) ?? (nodes.length > 1 ? node.trouble : undefined);
}

/** Where a worker is started, or a hive so that the task can be placed again; NO_NODE_FITS says of every node why not. */
export function chooseNode(wanted: Wanted, nodes: readonly NodeView[], matcher: ModelMatcher): NodeChoice {
  const found = new Map(nodes.map((node) => [node, matcher.find(node.models)]));
  const hasModel = (node: NodeView) => found.get(node) !== undefined;
  const judgeDigest = (node: NodeView) => findOtherModel(wanted, node, found.get(node));
  // A hub model is the same everywhere: what one node knows of it says what another one will need.
  const size = matcher.wanted?.provider === 'hf' ? sizeOf([...found.values()]) : undefined;
  // A node that was asked for, or the only one, is not judged from here: its own check says more precisely what is missing.
  const sizeAt = (node: NodeView) => found.get(node)?.size_bytes ?? size;
  const judge = (node: NodeView) =>
    findRefusal(wanted, node, nodes) ??
    judgeDigest(node) ??
    (nodes.length > 1
      ? (findUnfitness(wanted, node, sizeAt(node)) ?? (hasModel(node) ? undefined : findLackOfDisk(node, size)))
      : undefined);
  const judged =
    wanted.node === undefined
      ? nodes.map((node) => ({ node, unfit: judge(node) }))
      : nodes.filter(({ name }) => name === wanted.node).map((node) => ({ node, unfit: judgeDigest(node) }));
  const fitting = judged.filter(({ unfit }) => unfit === undefined).map(({ node }) => node);
  const crowded = new Set(
    fitting.filter((node) => findLackOfMemory(wanted, node, sizeAt(node), NO_ROOM) !== undefined),
  );
  const [best, ...others] = fitting.sort(
    (a, b) =>
      Number(crowded.has(a)) - Number(crowded.has(b)) ||
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
  const reason = crowded.has(best)
    ? 'no worker has the model loaded; idle workers there can make room for it'
    : hasModel(best)
      ? 'no worker has the model loaded, but it is in the catalog'
      : others.some(({ hiveUp }) => hiveUp)
        ? `no worker has the model loaded; it has least work and ${freeMemory(wanted, best)} MB free`
        : 'no worker has the model loaded';
  return { action: 'start_worker', node: best.name, reason };
}

/** Free memory in MB where the model would lie: of the device with most of it, or of the machine. */
function freeMemory(wanted: Wanted, { resources }: NodeView, room: Room = NO_ROOM): number {
  if (wanted.backend === 'cpu') return resources?.ram_available_mb ?? 0;
  const devices = resources?.gpus.filter(
    ({ backend, index }) =>
      (backend ?? 'cuda') === wanted.backend && (wanted.device === undefined || wanted.device === index),
  );
  const roomAt = (index: number) => room.get(`${wanted.backend}:${index}`) ?? 0;
  return Math.max(0, ...(devices ?? []).map(({ index, vram_free_mb }) => vram_free_mb + roomAt(index)));
}

function load(node: NodeView): number {
  return node.workers.reduce((sum, { inFlight }) => sum + inFlight, 0);
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
  return findLackOfMemory(wanted, node, size, findRoom(node));
}

/** Memory in MB that workers would free which may be ended for another one, by backend and device. */
type Room = ReadonlyMap<string, number>;

const NO_ROOM: Room = new Map();

/** What ending the idle workers that are not pinned would free. */
function findRoom({ workers }: NodeView): Room {
  const room = new Map<string, number>();
  for (const { state, inFlight, pinned, memory_bytes, backend, device, slots_available, slots_total } of workers) {
    if (state !== 'idle' || inFlight > 0 || pinned || slots_available < slots_total) continue;
    const where = `${backend}:${device}`;
    room.set(where, (room.get(where) ?? 0) + Math.floor((memory_bytes ?? 0) / 2 ** 20));
  }
  return room;
}

/** Which memory is too small for a worker even if this room were made; `undefined` when none is, or not all is known. */
function findLackOfMemory(wanted: Wanted, node: NodeView, size: number | undefined, room: Room): string | undefined {
  if (size === undefined || !node.resources) return undefined;
  const { ram_available_mb, gpus } = node.resources;
  // File size in MB times 1.2, rounded up, computed in integers.
  const required = Math.ceil((size * 12) / (2 ** 20 * 10));
  const ram = ram_available_mb + (room.get('cpu:0') ?? 0);
  if (ram < required) return `it has ${ram} MB free, ${required} MB are needed`;
  // The memory of devices is not always known.
  if (wanted.backend === 'cpu' || !gpus.some(({ backend }) => (backend ?? 'cuda') === wanted.backend)) return undefined;
  const free = freeMemory(wanted, node, room);
  if (free >= required) return undefined;
  const where = wanted.device === undefined ? `a ${wanted.backend} device` : `${wanted.backend}:${wanted.device}`;
  return `it has ${free} MB free on ${where}, ${required} MB are needed`;
}

/** Why a node cannot go on with what another one has generated; one whose hive is away may have the model. */
function findOtherModel(
  { digest }: Wanted,
  { hiveUp }: NodeView,
  model: NodeModelView | undefined,
): string | undefined {
  if (digest === undefined || !hiveUp || model?.digest === digest) return undefined;
  return model ? 'its model of that name has another digest' : 'it does not have the model that the answer began with';
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
