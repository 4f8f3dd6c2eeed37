import { isRbeeError, RbeeError, type TaskDetail } from '@rbee/protocol';
import type { QueenClient } from '../queen/queen-client.js';
import type { QueenControl } from '../queen/queen-control.js';

/** As many ids as an error names: those of the newest tasks. */
const MOST_NAMED = 5;

/** The task with an id, or with the only id that begins so. Throws the queen's NOT_FOUND. */
export async function findTask(queen: Pick<QueenClient, 'listTasks' | 'showTask'>, id: string): Promise<TaskDetail> {
  try {
    return await queen.showTask(id);
  } catch (error) {
    if (!isRbeeError(error) || error.code !== 'NOT_FOUND') throw error;
    const ids = (await queen.listTasks()).map(({ job_id }) => job_id).filter((known) => known.startsWith(id));
    const [only] = ids;
    if (only === undefined) throw error;
    if (ids.length === 1) return queen.showTask(only);
    throw toAmbiguityError(id, ids);
  }
}

function toAmbiguityError(id: string, ids: readonly string[]): RbeeError {
  return new RbeeError('NOT_FOUND', `${ids.length} tasks have an id that begins with ${id}`, {
    details: { job_ids: ids.length > MOST_NAMED ? [...ids.slice(-MOST_NAMED), 'and others'] : ids },
    suggestion: 'give more of the id: rbee-keeper tasks list',
  });
}

/** The error of a command about one task where no queen runs. */
export function noQueenHasIt({ address }: Pick<QueenControl, 'address'>): RbeeError {
  return new RbeeError('QUEEN_UNREACHABLE', `no queen answers at ${address.url}, so there are no tasks`, {
    details: { url: address.url },
    suggestion: 'tasks that a queen left behind go on when one is started again: rbee-keeper queen start',
  });
}
