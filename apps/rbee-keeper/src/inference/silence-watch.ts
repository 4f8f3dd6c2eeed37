import type { Clock } from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import type { QueenConnection } from '../queen/queen-connection.js';

const CHECK_MS = 15_000;
const LOOK_MS = 10_000;
const LOOKS = 3;

/** When something was last heard on a stream; kept by whoever reads it. */
export interface Hearing {
  at: number;
}

/**
 * Looks after a queen that is silent for long. `onLost` is told once: when she does not answer again and again, or another one
 * answers in her place. One that answers may be silent: there is nothing to tell of a long wait. Returns how to end the watch.
 */
export function watchSilence(
  queen: Pick<QueenConnection, 'look'>,
  clock: Clock,
  heard: Hearing,
  onLost: (error: RbeeError) => void,
): () => void {
  let unanswered = 0;
  let looking = false;
  const stop = clock.every(CHECK_MS, () => {
    const silentMs = clock.monotonic() - heard.at;
    if (silentMs < CHECK_MS) unanswered = 0;
    if (silentMs < CHECK_MS || looking) return;
    looking = true;
    void queen
      .look(LOOK_MS)
      .catch(() => 'other' as const)
      .then((sign) => {
        looking = false;
        unanswered = sign === 'none' ? unanswered + 1 : 0;
        if (sign === 'same' || (sign === 'none' && unanswered < LOOKS)) return;
        stop();
        onLost(toSilenceError(clock.monotonic() - heard.at));
      });
  });
  return stop;
}

function toSilenceError(silentMs: number): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', `queen-rbee has been silent for ${Math.round(silentMs / 1000)} s`, {
    details: { service: 'queen-rbee', silent_seconds: Math.round(silentMs / 1000) },
  });
}
