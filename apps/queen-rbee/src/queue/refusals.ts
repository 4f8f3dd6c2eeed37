import { formatDuration } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { WaitedFor } from '../placement/place-task.js';

/** What a caller is told to wait while nothing is known of how long jobs take. */
const UNKNOWN_WAIT_MS = 5_000;

/** The error for a queue that takes no more tasks; says when to come back. */
export function queueFull(why: string, details: Record<string, unknown>, etaMs: number | undefined): RbeeError {
  const retry_after_seconds = Math.max(1, Math.ceil((etaMs ?? UNKNOWN_WAIT_MS) / 1000));
  return new RbeeError('QUEUE_FULL', `the queue is full: ${why}`, {
    details: { ...details, retry_after_seconds },
    suggestion: `try again in ${formatDuration(retry_after_seconds * 1000)}, or start another worker: rbee-keeper workers spawn`,
  });
}

/** `1 task waits already`, `2 tasks wait already`; `whose` stands behind the noun. */
export function countWaiting(count: number, whose = ''): string {
  return count === 1 ? `1 task${whose} waits already` : `${count} tasks${whose} wait already`;
}

/** The error for a task whose turn would come only after its deadline. */
export function deadlineUnreachable(position: number, etaMs: number, remainingMs: number): RbeeError {
  const [wait, rest] = [formatDuration(etaMs), formatDuration(Math.max(0, Math.round(remainingMs)))];
  return new RbeeError(
    'DEADLINE_UNREACHABLE',
    `the task would start in about ${wait} (place ${position} in the queue), but its deadline is in ${rest}`,
    {
      details: { position, eta_ms: etaMs, remaining_ms: Math.max(0, Math.round(remainingMs)) },
      suggestion: 'allow more time, for example with --timeout 10m, or start another worker: rbee-keeper workers spawn',
    },
  );
}

/** The error for a task that has waited as long as it may. */
export function allSlotsBusy(workers: readonly WaitedFor[], waitedMs: number): RbeeError {
  const total = workers.reduce((sum, { slots }) => sum + slots, 0);
  const busy = workers.reduce((sum, worker) => sum + worker.busy, 0);
  const [only] = workers.length === 1 ? workers : [];
  const what = only ? `no slot of worker ${only.id}` : `none of the ${total} slots that fit`;
  return new RbeeError('ALL_SLOTS_BUSY', `${what} became free within ${formatDuration(Math.round(waitedMs))}`, {
    details: {
      ...(only ? { worker_id: only.id } : {}),
      slots_total: total,
      slots_busy: busy,
      waited_ms: Math.round(waitedMs),
    },
    suggestion: 'wait for the running tasks to finish, choose another node with --node, or start another worker',
  });
}
