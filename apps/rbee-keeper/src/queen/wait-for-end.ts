import { type Clock, isRunning, type ProcessIdentity, sleep } from '@rbee/daemon-kit/client';

/** Waits until a process has gone; false when it still runs after `timeoutMs`. Rejects with the signal's reason. */
export async function waitForEnd(
  process: ProcessIdentity,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const end = clock.monotonic() + timeoutMs;
  // A process that is no child of this one gives no sign when it ends.
  for (let pauseMs = 5; isRunning(process); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (clock.monotonic() >= end) return false;
    await sleep(clock, pauseMs, signal);
  }
  return true;
}
