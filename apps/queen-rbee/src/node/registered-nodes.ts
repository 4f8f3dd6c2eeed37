import { type Clock, type Logger, userPaths } from '@rbee/daemon-kit';
import type { Backend, BackendStatus } from '@rbee/protocol';
import type { QueenSettings } from '../config.js';
import { Installer } from '../install/installer.js';
import { INSTALLATION } from '../installation.js';
import { createLink, type LinkParts } from '../link/create-link.js';
import type { LocalHiveKey } from '../link/local-hive-key.js';
import { sessionFactory } from '../link/session-factory.js';
import type { NodeRouteParts } from '../node-routes.js';
import type { NodeRecord } from '../registry/node-record.js';
import { type NodeChanges, NodeRegistry } from '../registry/node-registry.js';
import { toBackendStatuses } from '../setup/capabilities.js';
import { NodeAdmin } from '../setup/node-admin.js';
import { LiveNode } from './live-node.js';
import type { Nodes } from './nodes.js';
import type { NodeStanding } from './standing.js';

export interface RegisteredNodesParts {
  readonly settings: QueenSettings;
  readonly clock: Clock;
  readonly log: Logger;
  readonly home: string;
  readonly user: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly nodes: Nodes;
  /** That of the hive that stands for every node's while SSH is simulated. */
  readonly hiveKey: LocalHiveKey;
  /** Told after every change of a node's workers. */
  readonly onChange: () => void;
}

/** What is needed of the registered nodes elsewhere. */
export interface RegisteredNodes {
  readonly routes: Omit<NodeRouteParts, 'clock' | 'nodes'>;
  close(): Promise<void>;
}

/**
 * Opens the registry and takes its nodes into the queen's view, in which they follow every change of the registry. A
 * registry that cannot be read is logged: this machine can be used all the same.
 */
export async function openRegisteredNodes(parts: RegisteredNodesParts): Promise<RegisteredNodes> {
  const { settings, clock, log, home, user, variables, nodes, hiveKey } = parts;
  const { timeouts, remoteBinaryPath: binaryPath, mockHiveUrl } = settings;
  const registry = NodeRegistry.open({ file: settings.database, clock, log });
  const simulated = mockHiveUrl !== undefined;
  const createSession = sessionFactory({ clock, log, timeouts, home, user, variables, simulated });
  /** What was seen of a node; a node that was removed meanwhile needs none of it. */
  const writing = new Set<Promise<unknown>>();
  const remember = (name: string, changes: NodeChanges) => {
    const written = registry
      .update(name, changes)
      .catch((error: unknown) => {
        if (nodes.find(name)) log.warn({ error, node: name }, 'what was seen of a node was not stored');
      })
      .finally(() => writing.delete(written));
    writing.add(written);
  };
  const linkParts: LinkParts = {
    clock,
    log,
    timeouts,
    variables,
    createSession: (node, address, hostKeys) => createSession(node, address, hostKeys),
    onOwned: (node, ownedHive) => remember(node, { ownedHive }),
    binaryPath,
    mockHive: mockHiveUrl === undefined ? undefined : { url: mockHiveUrl, readKey: () => hiveKey.read() },
  };
  const follow = (record: NodeRecord) => {
    const { name } = record;
    const node = new LiveNode({
      link: createLink(record, linkParts),
      log,
      timeouts,
      variables,
      onChange: parts.onChange,
      onStanding: (standing) => remember(name, toContact(standing, clock)),
      onBackends: (backends) => remember(name, toCapabilities(backends)),
      knownBackends: toBackendStatuses(record),
    });
    nodes.add(node);
  };
  const onChange = async (name: string, record: NodeRecord | undefined) => {
    const before = nodes.remove(name);
    // Nobody else could end a hive that is no longer known, because its node was removed or is another machine now.
    if (before && !record?.ownedHive) {
      await before
        .stopHive(() => undefined)
        .catch((error: unknown) => log.warn({ error, node: name }, 'the hive of a node was not ended'));
    }
    await before?.link.close();
    if (record) follow(record);
  };
  const records = await registry.list().catch((error: unknown) => {
    log.error({ error, file: settings.database }, 'the node registry cannot be read: only this machine can be used');
    return [];
  });
  for (const record of records) follow(record);
  const admin = new NodeAdmin({ registry, createSession, clock, log, timeouts, variables, binaryPath, onChange });
  const installer = new Installer({
    clock,
    timeouts,
    root: INSTALLATION,
    stateFolder: userPaths({ home }).state,
    gitRepoDir: settings.remoteGitRepoDir,
  });
  const openSession = ({ name, ssh, hostKeys }: NodeRecord) => (ssh ? createSession(name, ssh, hostKeys) : undefined);
  const close = async () => {
    await Promise.all(writing);
    await registry.close();
  };
  return { routes: { registry, admin, installer, openSession }, close };
}

function toContact({ status, hive, reason }: NodeStanding, clock: Clock): NodeChanges {
  const contact = status === 'reachable' ? { lastConnectedUnix: Math.floor(clock.now() / 1000) } : {};
  // A hive that does not run is no error: it is started when there is something to do.
  return { status, lastError: hive === 'stopped' ? undefined : reason, ...contact };
}

function toCapabilities(backends: readonly BackendStatus[]): NodeChanges {
  const available = backends.filter((backend) => backend.available);
  const devices: Partial<Record<Backend, number>> = {};
  for (const backend of available) devices[backend.name] = backend.devices;
  return { backends: available.map(({ name }) => name), devices };
}
