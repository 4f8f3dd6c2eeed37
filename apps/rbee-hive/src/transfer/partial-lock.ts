import { randomBytes } from 'node:crypto';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { identify, isRunning, type ProcessIdentity } from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';

/** The right of this process to write to one partial file. */
export interface PartialLock {
  release(): Promise<void>;
}

const LOCK_NAME = /^\.(\d+)-([\w-]+)-[0-9a-f]{8}\.lock$/;
let self: ProcessIdentity | undefined;

/**
 * Locks a partial file, whose folder must exist. Throws DOWNLOAD_FAILED (retryable) while a living process holds a lock;
 * file system errors pass.
 *
 * Each lock is a file of its own that names its process. Whoever wants the partial file first makes one and then looks
 * for others: of two at least one sees the other and steps back, and a lock that a dead process left can be deleted by
 * anybody, because no other process ever has one of that name.
 */
export async function lockPartial(partial: string): Promise<PartialLock> {
  const path = `${partial}.${nameOwner()}-${randomBytes(4).toString('hex')}.lock`;
  await (await open(path, 'wx')).close();
  const release = () => rm(path, { force: true });
  try {
    const others = (await findLocks(partial)).filter((lock) => lock.path !== path);
    if (others.some(({ owner }) => isRunning(owner))) throw busyError(partial);
    await Promise.all(others.map((lock) => rm(lock.path, { force: true })));
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

/** Whether a living process has a partial file open. */
export async function isPartialLocked(partial: string): Promise<boolean> {
  return (await findLocks(partial)).some(({ owner }) => isRunning(owner));
}

/** Deletes a partial file and the locks of dead processes on it. Returns its size, or `undefined` when it is in use or not there. */
export async function deletePartial(partial: string): Promise<number | undefined> {
  const lock = await lockPartial(partial).catch(() => undefined);
  if (!lock) return undefined;
  try {
    const { size } = await stat(partial);
    await rm(partial);
    return size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  } finally {
    await lock.release();
  }
}

function nameOwner(): string {
  self ??= identify(process.pid);
  if (self?.startTime === undefined) throw new Error('this process has no start time');
  return `${self.pid}-${Buffer.from(self.startTime).toString('base64url')}`;
}

async function findLocks(partial: string): Promise<{ path: string; owner: ProcessIdentity }[]> {
  const folder = dirname(partial);
  const start = basename(partial);
  const names = (await readdir(folder)).filter((name) => name.startsWith(start));
  return names.flatMap((name) => {
    const [, pid, startTime] = LOCK_NAME.exec(name.slice(start.length)) ?? [];
    if (pid === undefined || startTime === undefined) return [];
    const owner = { pid: Number(pid), startTime: Buffer.from(startTime, 'base64url').toString() };
    return [{ path: join(folder, name), owner }];
  });
}

function busyError(partial: string): RbeeError {
  return new RbeeError('DOWNLOAD_FAILED', `another process writes to ${basename(partial)}`, {
    details: { file: basename(partial), busy: true, reason: 'another process writes to the file' },
    retryable: true,
    suggestion:
      'wait until the other download of the same file has ended; two hives with one models folder share its files',
  });
}
