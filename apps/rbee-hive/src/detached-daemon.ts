import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Environment, makeStateFolder, type ProcessIdentity, startProcess } from '@rbee/daemon-kit';
import { RbeeError, VERSION } from '@rbee/protocol';

/**
 * Starts this program once more, as `daemon` with the given arguments, in a session of its own that holds nothing of
 * this one open: whoever waits for this process and its output does not wait for the daemon. What the daemon writes is
 * appended to `rbee-hive.out.log` in `logDir`. Resolves as soon as the process exists. Throws CONFIG_INVALID or
 * HIVE_START_FAILED.
 */
export async function startDetached(
  { variables, home, clock }: Pick<Environment, 'variables' | 'home' | 'clock'>,
  logDir: string,
  args: readonly string[],
): Promise<ProcessIdentity> {
  makeStateFolder(logDir);
  const path = join(logDir, 'rbee-hive.out.log');
  const outputDescriptor = openOutput(path, `${new Date(clock.now()).toISOString()} starting rbee-hive ${VERSION}\n`);
  try {
    const started = await startProcess({
      command: process.execPath,
      args: [...process.execArgv, process.argv[1] ?? '', 'daemon', ...args],
      variables,
      cwd: home,
      outputDescriptor,
    });
    if (started.startTime === undefined) throw new Error('it ended at once');
    return started;
  } catch (cause) {
    throw toStartError(path, cause as NodeJS.ErrnoException);
  } finally {
    closeSync(outputDescriptor);
  }
}

/** The first line also shows whether the disk takes anything at all. */
function openOutput(path: string, firstLine: string): number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'a', 0o600);
    writeSync(descriptor, firstLine);
    return descriptor;
  } catch (cause) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw toOutputError(path, cause as NodeJS.ErrnoException);
  }
}

function toOutputError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  const why = full ? 'the disk is full' : `${cause.code}`;
  return new RbeeError('HIVE_START_FAILED', `the hive could not be started: ${path} cannot be written (${why})`, {
    details: { path, cause: cause.code },
    suggestion: full
      ? `free some space (df -h ${path} shows how much there is), then try again`
      : 'give this user write permission on it, then try again',
    cause,
  });
}

function toStartError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('HIVE_START_FAILED', `the hive could not be started: ${cause.message}`, {
    details: { cause: cause.code },
    suggestion: `look into ${path}, then try again`,
    cause,
  });
}
