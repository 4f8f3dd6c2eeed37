import { signalProcess } from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import { checkVersion } from './probe-queen.js';
import type { FoundQueen, QueenControl } from './queen-control.js';

/** Makes sure that a queen runs which does not end with its clients. A user who gives up leaves none behind. */
export async function startPersistentQueen(
  control: QueenControl,
  signal: AbortSignal,
): Promise<{ found: FoundQueen; alreadyRan: boolean }> {
  if (!control.address.isLocal) {
    throw new RbeeError('QUEEN_START_FAILED', `a queen at ${control.address.url} cannot be started from here`, {
      details: { url: control.address.url },
      suggestion: 'start it on its own machine: rbee-keeper queen start',
    });
  }
  const probe = await control.probe();
  if (probe.state === 'up') {
    checkVersion(probe.health);
    return { found: { health: probe.health, process: undefined, startedHere: false }, alreadyRan: true };
  }
  const found = await control.start({ ephemeral: false });
  if (signal.aborted && found.startedHere && found.process) signalProcess(found.process, 'SIGTERM');
  signal.throwIfAborted();
  checkVersion(found.health);
  return { found, alreadyRan: !found.startedHere };
}
