import { type NodeStatus, nodeRowSchema, RbeeError } from '@rbee/protocol';
import type { HostKeys } from '../ssh/host-key.js';
import type { NodeRecord } from './node-record.js';

/** A row of the table `beehives`. Lists and objects are JSON; a node has either `ssh_host` or `hive_url`. */
export interface BeehiveRow {
  node_name: string;
  ssh_host: string | null;
  ssh_port: number | null;
  ssh_user: string | null;
  ssh_key_path: string | null;
  git_repo_url: string | null;
  git_branch: string;
  install_path: string;
  last_connected_unix: number | null;
  last_error: string | null;
  status: NodeStatus;
  backends: string;
  devices: string;
  host_keys: string;
  node_path: string | null;
  hive_port: number;
  hive_url: string | null;
  hive_token_file: string | null;
  owned_pid: number | null;
  owned_start_time: string | null;
}

export interface RegistrySchema {
  beehives: BeehiveRow;
}

export function toBeehiveRow(record: NodeRecord): BeehiveRow {
  const { ssh, direct, ownedHive } = record;
  return {
    node_name: record.name,
    ssh_host: ssh?.host ?? null,
    ssh_port: ssh?.port ?? null,
    ssh_user: ssh?.user ?? null,
    ssh_key_path: ssh?.keyPath ?? null,
    git_repo_url: record.gitRepoUrl ?? null,
    git_branch: record.gitBranch,
    install_path: record.installPath,
    last_connected_unix: record.lastConnectedUnix ?? null,
    last_error: record.lastError ?? null,
    status: record.status,
    backends: JSON.stringify(record.backends),
    devices: JSON.stringify(record.devices),
    host_keys: JSON.stringify(record.hostKeys),
    node_path: record.nodePath ?? null,
    hive_port: record.hivePort,
    hive_url: direct?.url ?? null,
    hive_token_file: direct?.tokenFile ?? null,
    owned_pid: ownedHive?.pid ?? null,
    owned_start_time: ownedHive?.startTime ?? null,
  };
}

/** Throws REGISTRY_ERROR when somebody else has written something into the row that is not rbee's. */
export function toNodeRecord(row: BeehiveRow): NodeRecord {
  const { ssh_host: host, hive_url: url, hive_token_file: tokenFile } = row;
  return {
    name: row.node_name,
    ssh:
      host === null
        ? undefined
        : {
            host,
            port: row.ssh_port ?? undefined,
            user: row.ssh_user ?? undefined,
            keyPath: row.ssh_key_path ?? undefined,
          },
    direct: url === null || tokenFile === null ? undefined : { url, tokenFile },
    hostKeys: readColumn(row, 'host_keys', asHostKeys),
    gitRepoUrl: row.git_repo_url ?? undefined,
    gitBranch: row.git_branch,
    installPath: row.install_path,
    nodePath: row.node_path ?? undefined,
    hivePort: row.hive_port,
    backends: readColumn(row, 'backends', (value) => nodeRowSchema.shape.backends.safeParse(value).data),
    devices: readColumn(row, 'devices', (value) => nodeRowSchema.shape.devices.safeParse(value).data),
    status: row.status,
    lastConnectedUnix: row.last_connected_unix ?? undefined,
    lastError: row.last_error ?? undefined,
    ownedHive:
      row.owned_pid === null || row.owned_start_time === null
        ? undefined
        : { pid: row.owned_pid, startTime: row.owned_start_time },
  };
}

function readColumn<T>(
  row: BeehiveRow,
  column: 'host_keys' | 'backends' | 'devices',
  read: (value: unknown) => T | undefined,
): T {
  const value = read(parseJson(row[column]));
  if (value !== undefined) return value;
  // Going on without it would, for instance, forget which host key was pinned.
  throw new RbeeError('REGISTRY_ERROR', `the row of the node ${row.node_name} is damaged (${column})`, {
    details: { node: row.node_name, column },
    suggestion: `remove the node and add it again: rbee-keeper setup remove-node --name ${row.node_name}`,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Refused by whoever reads the column.
    return undefined;
  }
}

function asHostKeys(value: unknown): HostKeys | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.values(value).every((key) => typeof key === 'string') ? (value as HostKeys) : undefined;
}
