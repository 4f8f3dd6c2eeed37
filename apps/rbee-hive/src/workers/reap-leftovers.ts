import { type Clock, endProcess, isRunning, type Logger } from '@rbee/daemon-kit';
import type { RunFiles } from './run-files.js';

/** By then the start of a worker, of whichever hive, is over. */
const STRAY_MS = 60_000;

/**
 * Ends the workers that a killed hive left behind: SIGTERM, then SIGKILL after `graceMs`, all at the same time. A pid
 * that now belongs to another process, and a worker whose own hive still runs, are left alone. Returns how many ended.
 */
export async function reapLeftovers(files: RunFiles, clock: Clock, graceMs: number, log: Logger): Promise<number> {
  const orphans = files.readRecords().filter((record) => !isRunning(record.hive));
  const ended = await Promise.all(
    orphans.map(async ({ workerId, modelRef, process }) => {
      const wasRunning = isRunning(process);
      const { killed } = wasRunning ? await endProcess(process, clock, graceMs) : { killed: false };
      files.remove(workerId);
      const fields = { worker_id: workerId, model_ref: modelRef, pid: process.pid };
      if (killed)
        log.warn({ ...fields, reason: 'left by a killed hive', signal: 'SIGKILL' }, 'killed a leftover worker');
      else if (wasRunning) log.info({ ...fields, signal: 'SIGTERM' }, 'ended a leftover worker');
      else log.info(fields, 'removed the record of a worker that has gone');
      return wasRunning;
    }),
  );
  files.removeStrays(clock.now() - STRAY_MS);
  return ended.filter(Boolean).length;
}
