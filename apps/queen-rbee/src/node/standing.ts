import type { Logger } from '@rbee/daemon-kit';
import { isRbeeError, type LinkKind, type NodeStatus } from '@rbee/protocol';

/** How things stand with a node. */
export interface NodeStanding {
  /** Whether the machine can be reached. */
  readonly status: NodeStatus;
  /** Whether its hive runs; `unknown` while it cannot be asked or does not answer as it should. */
  readonly hive: 'running' | 'stopped' | 'unknown';
  /** Why not, for everything but a running hive. */
  readonly reason: string | undefined;
}

/** Keeps how things stand with one node, and tells each change once. */
export class Standing {
  readonly #options: { node: string; log: Logger; onChange: (standing: NodeStanding) => void };
  #now: NodeStanding;

  constructor(options: { node: string; log: Logger; onChange: (standing: NodeStanding) => void }, first: NodeStanding) {
    this.#options = options;
    this.#now = first;
  }

  get now(): NodeStanding {
    return this.#now;
  }

  set(next: NodeStanding): void {
    const before = this.#now;
    this.#now = next;
    if (before.status === next.status && before.hive === next.hive) return;
    const { node, log, onChange } = this.#options;
    const words = `${next.status}, its hive is ${next.hive}`;
    log.info({ node, ...next }, `node ${node} is ${words}${next.reason ? `: ${next.reason}` : ''}`);
    onChange(next);
  }
}

/** What a failed attempt to reach a hive says about its node; `undefined`: nothing, because it was given up on purpose. */
export function judgeFailure(kind: LinkKind, error: unknown): NodeStanding | undefined {
  if (!isRbeeError(error) || error.code === 'CANCELLED') return undefined;
  const { code, message, details } = error;
  if (code.startsWith('SSH_') && code !== 'SSH_FORWARDING_DENIED') {
    return { status: 'unreachable', hive: 'unknown', reason: message };
  }
  // Without a connection of its own, a link knows the machine by its hive alone.
  if (kind === 'direct' && code === 'CONNECTION_TIMEOUT') {
    return { status: 'unreachable', hive: 'unknown', reason: message };
  }
  const refused = code === 'CONNECTION_TIMEOUT' && /^ECONN(REFUSED|RESET)$/.test(String(details.cause));
  if (refused) return { status: 'reachable', hive: 'stopped', reason: 'no hive runs there' };
  return { status: 'reachable', hive: 'unknown', reason: message };
}
