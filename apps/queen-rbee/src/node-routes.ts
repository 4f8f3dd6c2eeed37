import { type Call, type Clock, createNarrator, type EventStream, type Handlers, type Narrate } from '@rbee/daemon-kit';
import { LOCALHOST, type Narration, type NodeAnswer, type queenRoutes, RbeeError } from '@rbee/protocol';
import type { Installer } from './install/installer.js';
import type { RemoteSession } from './link/remote-session.js';
import type { LiveNode } from './node/live-node.js';
import type { Nodes } from './node/nodes.js';
import type { NodeRecord } from './registry/node-record.js';
import type { NodeRegistry } from './registry/node-registry.js';
import { toNodeRow } from './registry/node-row.js';
import { toBackendStatuses } from './setup/capabilities.js';
import type { NodeAdmin } from './setup/node-admin.js';

export interface NodeRouteParts {
  readonly clock: Clock;
  readonly nodes: Nodes;
  readonly registry: NodeRegistry;
  readonly admin: NodeAdmin;
  readonly installer: Installer;
  /** Makes a connection of its own, so that a large transfer holds up no tokens; `undefined` for a node without SSH. */
  readonly openSession: (record: NodeRecord) => RemoteSession | undefined;
}

type NodeRoutes =
  | 'addNode'
  | 'updateNode'
  | 'listNodes'
  | 'removeNode'
  | 'installNode'
  | 'listHives'
  | 'startHive'
  | 'stopHive';

/** The handlers of the routes that are about nodes: the registry, installations, and the hives themselves. */
export function nodeHandlers(parts: NodeRouteParts): Pick<Handlers<typeof queenRoutes>, NodeRoutes> {
  const { clock, nodes, registry, admin, installer, openSession } = parts;
  return {
    addNode: (call, stream) => change(call, stream, clock, (narrate) => admin.add(call.body, narrate, call.signal)),
    updateNode: (call, stream) =>
      change(call, stream, clock, (narrate) => admin.update(call.body, narrate, call.signal)),
    async listNodes() {
      const records = await registry.list();
      await nodes.look(records.flatMap(({ name }) => nodes.find(name) ?? []));
      return { nodes: records.map((record) => toNodeRow(record, nodes.find(record.name)?.status)) };
    },
    removeNode: (call) => admin.remove(call.body.node_name),
    async installNode(call, stream) {
      const { node_name, service } = call.body;
      if (node_name === LOCALHOST) throw notInstallable(node_name);
      const record = await registry.require(node_name);
      const narrate = narrateTo(call, stream, clock);
      const startedAt = clock.monotonic();
      const session = openSession(record);
      if (!session) throw notInstallable(node_name);
      try {
        await session.connect(narrate, call.signal);
        const { release, unchanged, nodePath } = await installer.install(record, session, {
          service: service ?? false,
          narrate,
          progress: (progress) => stream.send({ type: 'progress', phase: 'upload', ...progress }),
          signal: call.signal,
        });
        const node = nodes.find(node_name);
        node?.learnBackends(toBackendStatuses(await admin.noteInstallation(record, session, nodePath)));
        // A hive of this queen goes on with the release it was started from; the next one is to be the new one.
        if (!unchanged && node?.link.ownsHive) await node.stopHive(narrate);
        const duration_ms = Math.round(clock.monotonic() - startedAt);
        stream.send({ type: 'end', node_name, duration_ms, release, unchanged });
      } finally {
        await session.close();
      }
    },
    async listHives(call) {
      const selected = nodes.select(call.query.node);
      await nodes.look(selected);
      return { hives: selected.map(({ status }) => status) };
    },
    async startHive(call, stream) {
      const node = nodes.get(call.body.node);
      const narrate = narrateTo(call, stream, clock);
      const running = node.standing.hive === 'running';
      await node.provideHive(narrate, call.signal);
      const { version, pid } = node.status;
      const facts = `${version ?? ''}${pid === undefined ? '' : ` (pid ${pid})`}`;
      const message = `the hive of ${node.name} ${running ? 'runs already' : 'runs'}: ${facts}`;
      stream.send({ type: 'end', node: node.name, message });
    },
    async stopHive(call, stream) {
      const node = nodes.get(call.body.node);
      const narrate = narrateTo(call, stream, clock);
      await node.link.reach(narrate, call.signal);
      const running = await node.link.findHive(call.signal);
      if (running && !node.link.ownsHive) throw notOwned(node);
      const stopped = await node.stopHive(narrate);
      const message = stopped ? `the hive of ${node.name} has ended` : `no hive runs on ${node.name}`;
      stream.send({ type: 'end', node: node.name, message });
    },
  };
}

/** Narration of a request onto its stream, under its correlation id. */
function narrateTo(
  call: Pick<Call, 'correlationId' | 'log'>,
  stream: { send(event: Narration): boolean },
  clock: Clock,
): Narrate {
  return createNarrator({
    service: 'queen-rbee',
    clock,
    log: call.log,
    deliver: (event) => stream.send(event),
    fields: { correlation_id: call.correlationId },
  });
}

/** Runs a change of the registry: told step by step where the caller wants to hear it, else answered by its result. */
async function change(
  call: Call<typeof queenRoutes.addNode> | Call<typeof queenRoutes.updateNode>,
  stream: EventStream<Narration | (NodeAnswer & { type: 'end' })>,
  clock: Clock,
  work: (narrate: Narrate) => Promise<NodeAnswer>,
): Promise<NodeAnswer | undefined> {
  const silent = { send: () => true };
  const answer = await work(narrateTo(call, call.acceptsEventStream ? stream : silent, clock));
  if (!call.acceptsEventStream) return answer;
  stream.send({ type: 'end', ...answer });
  return undefined;
}

function notInstallable(node: string): RbeeError {
  const why =
    node === LOCALHOST
      ? 'this machine runs the rbee that the queen belongs to'
      : `${node} is reached at its hive, without SSH`;
  return new RbeeError('INVALID_REQUEST', `${why}: nothing is installed`, {
    details: { node },
    suggestion: 'name a node that is reached over SSH: rbee-keeper setup list-nodes',
  });
}

function notOwned({ name }: LiveNode): RbeeError {
  return new RbeeError('FORBIDDEN', `the hive of ${name} was started by somebody else: this queen does not end it`, {
    details: { node: name },
    suggestion: `end it where it was started, for example with Ctrl+C or its service manager on ${name}`,
  });
}
