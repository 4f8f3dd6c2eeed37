import { isRbeeError } from '@rbee/protocol';
import type { Listener } from './crowd.js';

/**
 * Does work that gives up at the deadline of those for whom it is done, and does it again when it gave up although one of them
 * has more time by now. The work must be one that can be repeated without harm.
 */
export async function underDeadline<T>(
  listener: Pick<Listener, 'deadline'>,
  work: (deadline: number | undefined) => Promise<T>,
): Promise<T> {
  for (;;) {
    const { deadline } = listener;
    try {
      return await work(deadline);
    } catch (error) {
      const gaveUp = isRbeeError(error) && error.code === 'REQUEST_TIMEOUT' && deadline !== undefined;
      if (!gaveUp || (listener.deadline !== undefined && listener.deadline <= deadline)) throw error;
    }
  }
}
