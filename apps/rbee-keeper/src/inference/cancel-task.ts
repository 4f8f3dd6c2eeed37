import { type Clock, sleep } from '@rbee/daemon-kit/client';
import type { QueenConnection } from '../queen/queen-connection.js';
import type { KeeperSettings } from '../settings.js';

/** How long a queen that is being started may still take, so that she can be told. */
const STARTING_MS = 2_000;

/**
 * Tells the queen once that a task is cancelled, and waits for its end within the limit. While she is away it is tried all the same,
 * without patience: the user is not kept waiting for somebody who does not answer.
 */
export async function cancelTask(
  queen: Pick<QueenConnection, 'client' | 'settled'>,
  jobId: string,
  how: {
    readonly clock: Clock;
    readonly correlationId: string;
    readonly away: boolean;
    readonly settings: Pick<KeeperSettings, 'cancel_ack' | 'queen_probe'>;
  },
): Promise<void> {
  const { clock, correlationId, away, settings } = how;
  const enough = new AbortController();
  if (away) await Promise.race([queen.settled(), sleep(clock, STARTING_MS, enough.signal).catch(() => undefined)]);
  enough.abort();
  // An acknowledgement that does not come changes nothing: the closed connection cancels the task as well.
  await queen.client
    .cancelTask(jobId, correlationId, away ? settings.queen_probe : settings.cancel_ack)
    .catch(() => undefined);
}
