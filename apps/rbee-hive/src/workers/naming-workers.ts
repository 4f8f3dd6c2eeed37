import { RbeeError } from '@rbee/protocol';
import { BYTES_PER_MB } from '../probe/snapshot.js';
import type { Worker } from './worker.js';

/** A message names so many of the workers that remain; the details have all of them. */
const MOST_NAMED = 3;

/**
 * The refusal of a worker, with those that stay and why no room is made of them. `roomLater`: there will be room once those are idle
 * that are not, so that it is worth waiting.
 */
export function namingWorkers(error: RbeeError, workers: readonly Worker[], roomLater: boolean): RbeeError {
  if (workers.length === 0) return error;
  const left = workers.map((worker) => ({ worker, why: whyItStays(worker) }));
  const named = left.slice(0, MOST_NAMED).map(({ worker, why }) => `${worker.id} (${worker.identity.modelRef}) ${why}`);
  const more = left.length - named.length;
  const rest = more > 0 ? [`${more} more`] : [];
  const pinned = workers.find(({ identity }) => identity.pinned);
  const { code, message, retryable, cause, correlationId } = error;
  return new RbeeError(code, `${message}; ${[...named, ...rest].join(', ')}`, {
    details: {
      ...error.details,
      room_later: roomLater,
      workers: left.map(({ worker, why }) => {
        const { worker_id, model_ref, state, pinned: isPinned, memory_bytes } = worker.toView();
        const memory_mb = memory_bytes === undefined ? undefined : Math.ceil(memory_bytes / BYTES_PER_MB);
        return { worker_id, model_ref, state, pinned: isPinned, memory_mb, reason: why };
      }),
    },
    suggestion: pinned
      ? `let a pinned worker go: rbee-keeper workers pin --id ${pinned.id} --off; or ${error.suggestion ?? 'use another node'}`
      : error.suggestion,
    retryable,
    cause,
    correlationId,
  });
}

function whyItStays({ identity, leaving, evictable, justStarted, serving }: Worker): string {
  if (identity.pinned) return 'is pinned';
  if (!identity.owned) return 'was not started by this hive';
  if (leaving) return 'is still ending';
  if (evictable) return 'is idle, but ending it would not be enough';
  return !serving ? 'is starting' : justStarted ? 'has just been started' : 'is in use';
}
