import type { EventStream, Handlers } from '@rbee/daemon-kit';
import {
  type AddNode,
  type HiveCommandEvent,
  type HiveStatus,
  type InstallEvent,
  type NodeAnswer,
  type NodeEvent,
  type NodeRow,
  type queenRoutes,
  RbeeError,
  type UpdateNode,
} from '@rbee/protocol';

type NodeRoutes =
  | 'addNode'
  | 'updateNode'
  | 'listNodes'
  | 'removeNode'
  | 'installNode'
  | 'listHives'
  | 'startHive'
  | 'stopHive';

/** Tells how something with a node goes: sends events and ends the stream, or throws. */
type Script<E> = (node: string, stream: EventStream<E>, signal: AbortSignal) => Promise<void>;

export const HOST_KEY = 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDbVBLsmvuu4KUn4Vo';

/** What a scripted queen answers about nodes and hives, and what it was asked. */
export class ScriptedNodes {
  readonly added: AddNode[] = [];
  readonly updated: UpdateNode[] = [];
  readonly removed: string[] = [];
  readonly installed: { readonly node_name: string; readonly service?: boolean | undefined }[] = [];
  /** Each as `startHive workstation`. */
  readonly commands: string[] = [];
  nodes: NodeRow[] = [];
  hives: HiveStatus[] = [];
  change: Script<NodeEvent> = saveNode;
  install: Script<InstallEvent> = installOnNode;
  command: Script<HiveCommandEvent> = obey;

  readonly handlers: Pick<Handlers<typeof queenRoutes>, NodeRoutes> = {
    addNode: async ({ body, signal }, stream) => {
      this.added.push(body);
      await this.change(body.node_name, stream, signal);
    },
    updateNode: async ({ body, signal }, stream) => {
      this.updated.push(body);
      await this.change(body.node_name, stream, signal);
    },
    listNodes: async () => ({ nodes: this.nodes }),
    removeNode: async ({ body: { node_name } }): Promise<NodeAnswer> => {
      if (node_name === 'attic') throw noSuchNode(node_name);
      this.removed.push(node_name);
      return { success: true, message: `node '${node_name}' is removed`, node_name };
    },
    installNode: async ({ body, signal }, stream) => {
      this.installed.push(body);
      await this.install(body.node_name, stream, signal);
    },
    listHives: async ({ query: { node } }) => {
      if (node === 'attic') throw noSuchNode(node);
      return { hives: this.hives.filter((hive) => node === undefined || hive.node === node) };
    },
    startHive: async ({ body, signal }, stream) => {
      this.commands.push(`startHive ${body.node}`);
      await this.command(body.node, stream, signal);
    },
    stopHive: async ({ body, signal }, stream) => {
      this.commands.push(`stopHive ${body.node}`);
      await this.command(body.node, stream, signal);
    },
  };
}

/** A hive that runs well, but for what is given. */
export function hiveOf(node: string, parts: Partial<HiveStatus> = {}): HiveStatus {
  return {
    node,
    link: node === 'localhost' ? 'local' : 'ssh',
    status: 'reachable',
    hive: 'running',
    version: '0.1.0',
    owned: true,
    url: 'http://127.0.0.1:9200',
    workers: 1,
    models: 1,
    ram_total_mb: 32_000,
    ram_available_mb: 16_000,
    gpus: [],
    ...parts,
  };
}

/** A node that was reached over SSH at noon of a summer day, local time, but for what is given. */
export function nodeOf(node_name: string, parts: Partial<NodeRow> = {}): NodeRow {
  return {
    node_name,
    link: 'ssh',
    ssh_host: `${node_name}.home.arpa`,
    host_key_fingerprint: HOST_KEY,
    install_path: '/home/me/rbee',
    hive_port: 9200,
    last_connected_unix: new Date(2030, 5, 9, 12, 0, 5).getTime() / 1000,
    status: 'reachable',
    backends: ['cpu'],
    devices: { cpu: 1 },
    ...parts,
  };
}

function noSuchNode(node: string): RbeeError {
  return new RbeeError('NODE_NOT_FOUND', `there is no node ${node}`, { details: { node } });
}

/** A line of narration. */
export function said(human: string, action = 'work') {
  return { type: 'narration' as const, actor: 'queen-rbee', action, target: 'workstation', human };
}

const saveNode: Script<NodeEvent> = async (node_name, stream) => {
  stream.send(said('checking SSH access to workstation.home.arpa', 'ssh_check'));
  const message = `SSH access works; node '${node_name}' is saved`;
  stream.send({ type: 'end', success: true, message, node_name, host_key_fingerprint: HOST_KEY });
};

const MIB = 2 ** 20;

const installOnNode: Script<InstallEvent> = async (node_name, stream) => {
  stream.send(said('packing release 0.1.0-0123456789ab', 'install_clone'));
  for (let percent = 0; percent <= 100; percent += 5) {
    const bytes_done = percent * MIB;
    stream.send({
      type: 'progress',
      phase: 'upload',
      bytes_done,
      bytes_total: 100 * MIB,
      bytes_per_second: 25 * MIB,
    });
  }
  stream.send(said('checking the release on workstation', 'install_build'));
  stream.send({ type: 'end', node_name, duration_ms: 4200, release: '0.1.0-0123456789ab', unchanged: false });
};

const obey: Script<HiveCommandEvent> = async (node, stream) => {
  stream.send(said(`at work on ${node}`));
  stream.send({ type: 'end', node, message: `the hive of ${node} does as told` });
};

/** Sends a line and then nothing, until the client is gone. */
export const hang: Script<NodeEvent | InstallEvent | HiveCommandEvent> = async (_node, stream, signal) => {
  stream.send(said('begun'));
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  throw signal.reason;
};
