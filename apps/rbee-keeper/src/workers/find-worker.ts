import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { QueenClient } from '../queen/queen-client.js';

/** As many ids as an error names. */
const MOST_NAMED = 5;

/**
 * Does something with the worker that has an id, or with the only one whose id begins so. Throws the queen's WORKER_NOT_FOUND, and
 * INVALID_WORKER_ID where several begin so.
 */
export async function atWorker<T>(
  queen: Pick<QueenClient, 'listWorkers'>,
  id: string,
  act: (workerId: string) => Promise<T>,
): Promise<T> {
  try {
    return await act(id);
  } catch (error) {
    if (!isRbeeError(error) || error.code !== 'WORKER_NOT_FOUND') throw error;
    const ids = (await queen.listWorkers()).map(({ worker_id }) => worker_id).filter((known) => known.startsWith(id));
    const [only] = ids;
    if (only === undefined) throw error;
    if (ids.length === 1) return act(only);
    throw toAmbiguityError(id, ids);
  }
}

function toAmbiguityError(id: string, ids: readonly string[]): RbeeError {
  return new RbeeError('INVALID_WORKER_ID', `${ids.length} workers have an id that begins with ${id}`, {
    details: { worker_ids: ids.length > MOST_NAMED ? [...ids.slice(0, MOST_NAMED), 'and others'] : ids },
    suggestion: 'give more of the id: rbee-keeper workers list',
  });
}
