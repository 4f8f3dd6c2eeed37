import { join } from 'node:path';
import { DEFAULT_TIMEOUTS, endProcess, isRunning, parseDuration, silentLogger, userPaths } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { reapLeftovers } from '../workers/reap-leftovers.js';
import { RunFiles } from '../workers/run-files.js';
import { defineCommand, printJson, UsageError } from './command.js';

const LONGEST_GRACE_MS = 3_600_000;
/** A worker without a hive has nobody to finish its jobs for. */
const WORKER_GRACE_MS = 3_000;

export const stop = defineCommand({
  name: 'stop',
  usage: 'stop --pid <n> --start-time <text> [--grace <time>]',
  options: { pid: { type: 'string' }, 'start-time': { type: 'string' }, grace: { type: 'string' } },
  async run({ pid, 'start-time': startTime, grace }, { environment }) {
    const hive = { pid: readPid(pid), startTime: readStartTime(startTime) };
    const graceMs = readGrace(grace);
    const wasRunning = isRunning(hive);
    const { killed } = wasRunning ? await end(hive, environment.clock, graceMs) : { killed: false };
    const ended = !isRunning(hive);
    // One that ended by itself has ended its workers; of any other they may still run, and nobody looks after them.
    if (ended) {
      const files = new RunFiles(join(userPaths(environment).run, 'workers'));
      await reapLeftovers(files, environment.clock, WORKER_GRACE_MS, silentLogger);
    }
    printJson(environment, { ended, killed, was_running: wasRunning });
    return ended ? 0 : 1;
  },
});

async function end(...[hive, clock, graceMs]: Parameters<typeof endProcess>): Promise<{ killed: boolean }> {
  try {
    return await endProcess(hive, clock, graceMs);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EPERM' ? foreignProcess(hive.pid, error) : error;
  }
}

function foreignProcess(pid: number, cause: unknown): RbeeError {
  return new RbeeError('FORBIDDEN', `process ${pid} belongs to another user, who alone may end it`, {
    details: { pid },
    suggestion: 'end it as the user who started it',
    cause,
  });
}

function readPid(text: string | undefined): number {
  if (text === undefined) throw new UsageError('--pid is missing');
  const pid = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (pid < 2) throw new UsageError('--pid must be the number of a process');
  return pid;
}

/** As `daemon --detach` printed it: a number, or a date as `ps` shows it. */
function readStartTime(text: string | undefined): string {
  if (text === undefined) throw new UsageError('--start-time is missing');
  if (!/^[A-Za-z0-9: ]{1,64}$/.test(text))
    throw new UsageError('--start-time must be as the start of the hive gave it');
  return text;
}

function readGrace(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUTS.queen_waits_for_hives;
  const ms = parseDuration(text);
  if (ms === undefined || ms > LONGEST_GRACE_MS)
    throw new UsageError('--grace must be a time of up to 1h, such as 35s');
  return ms;
}
