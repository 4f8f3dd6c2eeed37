import { signalProcess } from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import { isEnding, takeLease } from './lease.js';
import { checkVersion } from './probe-queen.js';
import type { FoundQueen, QueenControl } from './queen-control.js';
import { waitForEnd } from './wait-for-end.js';

/** Makes sure that a queen runs which does not end with its clients. A user who gives up leaves none behind. */
export async function startPersistentQueen(
  control: QueenControl,
  signal: AbortSignal,
): Promise<{ found: FoundQueen; alreadyRan: boolean }> {
  if (!control.address.isLocal) throw toElsewhereError(control.address.url);
  const running = await control.findRunning();
  if (running) {
    checkVersion(running.health);
    if (await isPersistent(control)) return { found: running, alreadyRan: true };
    await waitForItsEnd(control, running, signal);
  }
  const found = await control.start({ ephemeral: false });
  if (signal.aborted && found.startedHere && found.process) signalProcess(found.process, 'SIGTERM');
  signal.throwIfAborted();
  checkVersion(found.health);
  return { found, alreadyRan: !found.startedHere };
}

/** False for a queen that is ending. Throws QUEEN_START_FAILED for one that will end, but only when its clients have gone. */
async function isPersistent(control: QueenControl): Promise<boolean> {
  const { call } = control.surroundings.settings;
  try {
    const lease = await takeLease(control.target, call);
    const ending = await lease.release();
    if (lease.ephemeral && !ending) throw toBusyError(control.address.url, lease.pid);
    return !lease.ephemeral;
  } catch (error) {
    if (isEnding(error)) return false;
    throw error;
  }
}

async function waitForItsEnd(control: QueenControl, { process }: FoundQueen, signal: AbortSignal): Promise<void> {
  const { env, output, settings } = control.surroundings;
  if (!process) return;
  output.say('rbee-keeper', `waiting for queen-rbee (pid ${process.pid}), which is ending`);
  await waitForEnd(process, env.clock, settings.keeper_waits_for_queen, signal);
}

function toElsewhereError(url: string): RbeeError {
  return new RbeeError('QUEEN_START_FAILED', `a queen at ${url} cannot be started from here`, {
    details: { url },
    suggestion: 'start it on its own machine: rbee-keeper queen start',
  });
}

function toBusyError(url: string, pid: number): RbeeError {
  return new RbeeError('QUEEN_START_FAILED', 'a queen runs that ends with the commands that use it', {
    details: { url, pid },
    suggestion: 'try again when it has ended, or end it now: rbee-keeper queen stop',
  });
}
