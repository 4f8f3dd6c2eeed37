import { type Clock, formatDuration, type Narrate, retry, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { HiveHealth, Link } from './link.js';

/** Waits before each attempt. */
const WAITS_MS = [0, 200, 400] as const;

export interface ConnectContext {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks a node's hive whether it runs, in a few attempts of which each is told; `undefined` where nothing listens, which
 * needs no second attempt. Throws CONNECTION_TIMEOUT when it answers none of them, and what `reach` and `findHive` throw.
 */
export async function connectHive(
  link: Link,
  narrate: Narrate,
  context: ConnectContext,
): Promise<HiveHealth | undefined> {
  await link.reach(narrate, context.signal);
  return attemptHive(link, narrate, context, (signal) => link.findHive(signal));
}

/** Makes an attempt to reach a hive until one does not end in CONNECTION_TIMEOUT. */
export async function attemptHive<T>(
  link: Pick<Link, 'kind' | 'node' | 'hive'>,
  narrate: Narrate,
  { clock, timeouts, variables, signal }: ConnectContext,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = timeouts.hive_connect;
  const { host, port } = placeOf(link);
  const say = (human: string, level: 'info' | 'warn') =>
    narrate({ actor: 'queen-rbee', action: 'hive_check', target: link.node, human, level });
  const count = WAITS_MS.length;
  if (link.kind !== 'local') {
    say(`asking the hive at ${host}, port ${port} (attempt 1/${count}, timeout ${formatDuration(limit)})`, 'info');
  }
  let attempts = 1;
  const policy = {
    waits: WAITS_MS,
    isRetryable,
    onRetry: (number: number, waitMs: number, error: unknown) => {
      attempts = number;
      const timeout = `timeout ${formatDuration(limit)}`;
      say(`attempt ${number}/${count} after ${waitMs} ms: ${host}, port ${port}, ${timeout}: ${whyOf(error)}`, 'warn');
    },
  };
  const run = () => attemptWithin(clock, limit, signal, attempt, () => silence(link.node, limit));
  try {
    return await retry(policy, { clock, variables, signal }, run);
  } catch (error) {
    if (!isRetryable(error)) throw error;
    throw toFinalError(link.node, { host, port, timeout_ms: limit, attempts }, error);
  }
}

function toFinalError(
  node: string,
  facts: { readonly host: string; readonly port: number; readonly timeout_ms: number; readonly attempts: number },
  cause: RbeeError,
): RbeeError {
  const often = facts.attempts === 1 ? '1 attempt' : `${facts.attempts} attempts`;
  const what = `the hive of ${node} cannot be reached on port ${facts.port} after ${often}: ${whyOf(cause)}`;
  return new RbeeError('CONNECTION_TIMEOUT', what, {
    details: { node, ...facts, cause: causeOf(cause) },
    suggestion: `check that the hive runs: rbee-keeper hive status --node ${node}`,
    cause,
  });
}

async function attemptWithin<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal | undefined,
  attempt: (signal: AbortSignal) => Promise<T>,
  toError: () => RbeeError,
): Promise<T> {
  const abort = new AbortController();
  const either = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
  return withTimeout(clock, limitMs, attempt(either), () => {
    const error = toError();
    abort.abort(error);
    return error;
  });
}

/** The address in words; over SSH the node's own view of it, which is the loopback address, would tell nobody anything. */
function placeOf({ kind, node, hive }: Pick<Link, 'kind' | 'node' | 'hive'>): { host: string; port: number } {
  const { hostname, port } = new URL(hive.transport.peer.url);
  return { host: kind === 'ssh' ? node : hostname, port: Number(port || 80) };
}

function silence(node: string, limitMs: number): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', `the hive of ${node} did not answer within ${limitMs} ms`, {
    details: { node, timeout_ms: limitMs },
  });
}

function isRetryable(error: unknown): error is RbeeError {
  return isRbeeError(error) && error.code === 'CONNECTION_TIMEOUT';
}

function causeOf(error: RbeeError): string {
  return typeof error.details.cause === 'string' ? error.details.cause : 'timeout';
}

function whyOf(error: unknown): string {
  if (!isRetryable(error)) return 'no answer';
  const words: Readonly<Record<string, string>> = { ECONNREFUSED: 'refused', timeout: 'timed out' };
  const cause = causeOf(error);
  return words[cause] ?? cause;
}
