import { type Clock, formatDuration, sleep, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError } from '@rbee/protocol';
import { hiveStartFailed, saysWhatIsWrong } from './hive-start-error.js';
import type { HiveHealth } from './link.js';
import type { LaunchedHive, RemoteHive } from './remote-hive.js';

const FIRST_POLL_MS = 100;
const LONGEST_POLL_MS = 1_600;

export interface UntilHealthyOptions {
  readonly node: string;
  readonly hivePort: number;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly remote: RemoteHive;
  /** The process that was started. */
  readonly hive: LaunchedHive;
  /** `undefined` where nothing listens on the hive's port. */
  readonly askHealth: (timeoutMs: number) => Promise<HiveHealth | undefined>;
  readonly isConnected: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Waits until a hive answers on the port of the one that was started; it may be another one's. Throws HIVE_START_FAILED
 * with its last lines when the process ends before, or takes longer than `timeouts.hive_healthy`.
 */
export async function untilHealthy(options: UntilHealthyOptions): Promise<HiveHealth> {
  const { hivePort, clock, timeouts, remote, hive, signal } = options;
  const limit = timeouts.hive_healthy;
  const end = clock.monotonic() + limit;
  for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_POLL_MS)) {
    // Read before the probe: a hive that lost the port to another one has ended, and yet a hive answers.
    const running = await remote.isRunning(hive, signal);
    const health = await poll(options, Math.max(1, Math.min(timeouts.health_call, end - clock.monotonic())));
    if (health) return health;
    if (!running) throw await toError(options, 'ended before it was healthy', true);
    if (clock.monotonic() + pauseMs >= end) {
      throw await toError(options, `was not healthy on port ${hivePort} within ${formatDuration(limit)}`);
    }
    await sleep(clock, pauseMs, signal);
  }
}

/** As long as the connection stands, a hive that answers too late is only not ready yet. */
async function poll(
  { askHealth, isConnected, signal }: UntilHealthyOptions,
  timeoutMs: number,
): Promise<HiveHealth | undefined> {
  try {
    return await askHealth(timeoutMs);
  } catch (error) {
    const late = isRbeeError(error) && error.code === 'CONNECTION_TIMEOUT' && isConnected();
    if (late && !signal.aborted) return undefined;
    throw error;
  }
}

async function toError({ node, hivePort: port, remote, hive }: UntilHealthyOptions, why: string, ended = false) {
  const lastLines = await remote.lastLines(hive);
  // One that ends by itself says why; how a process ended over there can only be told from that.
  return hiveStartFailed({ node, port, why, lastLines, killed: ended && !saysWhatIsWrong(lastLines) });
}
