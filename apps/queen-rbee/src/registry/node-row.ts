import { redact } from '@rbee/daemon-kit';
import type { HiveStatus, NodeRow } from '@rbee/protocol';
import type { NodeRecord } from './node-record.js';
import { ownFingerprint, ownPort } from './own-host-key.js';

const DEFAULT_SSH_PORT = 22;

/** A node as the wire shows it, with what is known of its hive. */
export function toNodeRow(record: NodeRecord, live?: HiveStatus): NodeRow {
  const { ssh, direct } = record;
  return {
    node_name: record.name,
    link: ssh ? 'ssh' : 'direct',
    ssh_host: ssh?.host,
    // Where it was left out, the one that the last connection was made to.
    ssh_port: ssh && (ssh.port ?? ownPort(record.hostKeys) ?? DEFAULT_SSH_PORT),
    ssh_user: ssh?.user,
    ssh_key_path: ssh?.keyPath,
    host_key_fingerprint: ownFingerprint(record),
    git_repo_url: record.gitRepoUrl === undefined ? undefined : hideCredentials(record.gitRepoUrl),
    git_branch: ssh && record.gitBranch,
    install_path: ssh && record.installPath,
    node_path: record.nodePath,
    hive_port: record.hivePort,
    hive_url: direct?.url,
    hive_token_file: direct?.tokenFile,
    last_connected_unix: record.lastConnectedUnix,
    last_error: record.lastError,
    status: record.status,
    backends: [...record.backends],
    devices: { ...record.devices },
    live,
  };
}

/**
 * Without the password, and without a user of an http address that stands alone: that is how access tokens are given.
 */
function hideCredentials(url: string): string {
  return redact(url).replace(/^(https?:\/\/)[^/@:]+@/, '$1[REDACTED]@');
}
