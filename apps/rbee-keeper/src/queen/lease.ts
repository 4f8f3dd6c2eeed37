import { callJson, callStream, readEvent, type Target, withTimeout } from '@rbee/daemon-kit/client';
import { isRbeeError, leaseEventSchema, queenRoutes, RbeeError } from '@rbee/protocol';

/** A hold on a queen: one that was started for a single command stays as long as anybody has one. */
export interface Lease {
  /** Whether this queen ends when its last lease does. */
  readonly ephemeral: boolean;
  readonly pid: number;
  /** Aborted when the queen ends the lease or its connection breaks. */
  readonly lost: AbortSignal;
  /** Gives the lease back; true when the queen ends now because of that. Rejects when the queen does not answer. */
  release(): Promise<boolean>;
  /** Forgets a lease that was lost: there is nobody left to give it back to. */
  drop(): void;
}

/** Takes a lease. Rejects with an error that `isEnding` recognises when the queen is about to end. */
export async function takeLease(target: Target, timeoutMs: number): Promise<Lease> {
  const stream = await callStream(target, queenRoutes.lease, { timeoutMs });
  const lost = new AbortController();
  try {
    const first = await withTimeout(target.clock, timeoutMs, stream.messages.next(), () => toSilenceError(timeoutMs));
    const event = first.value ? readEvent(leaseEventSchema, first.value) : undefined;
    if (event?.type !== 'leased') throw toEndingError();
    void watch(stream.messages, lost);
    return {
      ephemeral: event.ephemeral,
      pid: event.pid,
      lost: lost.signal,
      async release() {
        try {
          const params = { lease_id: event.lease_id };
          return (await callJson(target, queenRoutes.releaseLease, { params, timeoutMs })).ending;
        } finally {
          stream.close();
        }
      },
      drop: () => stream.close(),
    };
  } catch (error) {
    stream.close();
    throw error;
  }
}

/** Whether a lease was refused because the queen is ending or has just ended. */
export function isEnding(error: unknown): boolean {
  return isRbeeError(error) && error.status === 503 && error.retryable;
}

async function watch(messages: AsyncIterable<unknown>, lost: AbortController): Promise<void> {
  try {
    // What follows is keep-alive, then the end: none of it has to be understood.
    for await (const _message of messages);
  } catch (error) {
    lost.abort(error);
  }
  lost.abort(toEndingError());
}

function toEndingError(): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', 'queen-rbee is ending', { details: { service: 'queen-rbee' } });
}

function toSilenceError(timeoutMs: number): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', `queen-rbee gave no lease within ${timeoutMs} ms`, {
    details: { service: 'queen-rbee', timeout_ms: timeoutMs },
  });
}
