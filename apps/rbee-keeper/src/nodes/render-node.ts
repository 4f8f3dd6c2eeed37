import type { HiveStatus, NodeRow } from '@rbee/protocol';
import { toLocalTime } from '../local-time.js';
import { toPrintableLine } from '../printable-text.js';
import { memoryText } from './memory-text.js';
import { NOT_ANSWERED } from './render-hives.js';

/** What is known of one node: its name and address, and a line for each fact. Times are local. */
export function renderNode(node: NodeRow): string[] {
  const facts: [string, string | undefined][] = [
    ['Status', renderStatus(node)],
    ['Last connected', node.last_connected_unix === undefined ? 'never' : toLocalTime(node.last_connected_unix)],
    ...(node.link === 'direct' ? directFacts(node) : sshFacts(node)),
    ['Backends', renderBackends(node)],
    ['Hive', node.live && renderHive(node.live, node.last_error)],
    ['Last error', node.last_error],
  ];
  return [
    toPrintableLine(`${node.node_name} (${node.ssh_host ?? node.hive_url ?? 'no address'})`),
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name}: ${toPrintableLine(value)}`])),
  ];
}

/** Of a node that has not answered yet, an earlier contact says nothing about the present. */
function renderStatus({ status, live }: NodeRow): string {
  return live?.status === 'unknown' && status === 'reachable' ? 'unknown (reachable before)' : status;
}

function sshFacts(node: NodeRow): [string, string | undefined][] {
  return [
    ['Install path', node.install_path],
    ['User', node.ssh_user],
    ['Port', node.ssh_port?.toString()],
    ['SSH key', node.ssh_key_path],
    ['Host key', node.host_key_fingerprint],
    [
      'Release',
      node.git_repo_url === undefined
        ? 'sent by this queen'
        : `branch ${node.git_branch ?? 'main'} of ${node.git_repo_url}`,
    ],
  ];
}

function directFacts(node: NodeRow): [string, string | undefined][] {
  return [['Key file', node.hive_token_file]];
}

function renderBackends({ backends, devices }: NodeRow): string {
  const parts = backends.map((backend) => {
    const count = devices[backend];
    return count === undefined ? backend : `${backend} (${plural(count, 'device')})`;
  });
  return parts.length === 0 ? 'not known' : parts.join(', ');
}

/** Why a hive does not run is left out where the node's last error, which is shown as well, says the same. */
function renderHive(live: HiveStatus, lastError: string | undefined): string {
  if (live.hive !== 'running') {
    const reason = live.reason ?? (live.status === 'unknown' ? NOT_ANSWERED : undefined);
    return reason === undefined || reason === lastError ? live.hive : `${live.hive}: ${reason}`;
  }
  const memory = memoryText(live.ram_available_mb, live.ram_total_mb);
  return [
    'running',
    ...(live.version === undefined ? [] : [`version ${live.version}`]),
    plural(live.workers, 'worker'),
    ...(memory === undefined ? [] : [`${memory} of memory free`]),
  ].join(', ');
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
