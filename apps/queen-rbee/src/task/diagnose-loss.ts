import { callJson, sleep, type Target } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, workerRoutes } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';

/** Whoever is asked about a loss must answer quickly: the client waits. */
export const ASK_MS = 1_000;
const ASK_AGAIN_MS = 100;

/** A worker whose stream broke off, and how far the job had come. */
export interface Loss {
  readonly node: LiveNode;
  readonly target: Target;
  readonly workerId: string;
  readonly tokensOut: number;
  readonly correlationId: string;
  readonly cause: unknown;
  /** Whether the task ends with it: then it is worth a moment to learn from the hive why. */
  readonly isLast: boolean;
}

/** Finds out what happened to a worker: WORKER_CRASHED when its process has gone, WORKER_CONNECTION_LOST when it still answers. */
export async function diagnoseLoss(loss: Loss): Promise<RbeeError> {
  const { node, workerId, tokensOut, cause } = loss;
  const details = { worker_id: workerId, node: node.name, tokens_out: tokensOut };
  const suggestion = 'repeat the request: another worker takes it';
  if (node.standing.status === 'unreachable') {
    return new RbeeError(
      'WORKER_CONNECTION_LOST',
      `the connection to ${node.name} broke off ${afterTokens(tokensOut)}: ${node.standing.reason}`,
      { details, suggestion: 'check the network to the node, then repeat the request', cause },
    );
  }
  if (await stillAnswers(loss)) {
    return new RbeeError(
      'WORKER_CONNECTION_LOST',
      `the connection to worker ${workerId} broke off ${afterTokens(tokensOut)}`,
      {
        details,
        suggestion: 'repeat the request; if it happens again, check the network to the node',
        cause,
      },
    );
  }
  const why = await askHive(loss);
  return new RbeeError(
    'WORKER_CRASHED',
    why ? `${why.message}, ${afterTokens(tokensOut)}` : `the worker ended ${afterTokens(tokensOut)}`,
    {
      details: { ...details, ...(why ? { reason: why.code } : {}) },
      suggestion,
      cause,
    },
  );
}

/** When something happened to an answer: `before the first token`, `after 1 token`, `after 2 tokens`. */
export function afterTokens(count: number): string {
  if (count === 0) return 'before the first token';
  return count === 1 ? 'after 1 token' : `after ${count} tokens`;
}

async function stillAnswers({ target, correlationId }: Loss): Promise<boolean> {
  try {
    await callJson(target, workerRoutes.health, { correlationId, timeoutMs: ASK_MS });
    return true;
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    // Refused or reset: nobody is there. Too slow or odd answers come from a process that lives.
    return error.code !== 'CONNECTION_TIMEOUT' || error.details.timeout_ms !== undefined;
  }
}

/** Why the process ended, as far as its hive knows already; it may notice the end a moment later than the queen does. */
async function askHive(loss: Loss): Promise<{ code: string; message: string } | undefined> {
  const { node, workerId, correlationId, isLast, target } = loss;
  const { clock } = target;
  const end = clock.monotonic() + ASK_MS;
  try {
    for (;;) {
      const { last_error, state } = await node.refreshWorker(workerId, { correlationId, timeoutMs: ASK_MS });
      if (last_error || state === 'failed' || !isLast || clock.monotonic() >= end) return last_error;
      await sleep(clock, ASK_AGAIN_MS);
    }
  } catch (error) {
    // The hive may have gone too, or may have dropped the worker: then the plain fact has to do.
    if (!isRbeeError(error)) throw error;
    return undefined;
  }
}
