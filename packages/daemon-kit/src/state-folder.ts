import { existsSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { RbeeError } from '@rbee/protocol';

/** Makes a folder for the user alone. Throws CONFIG_INVALID, with the folder and what to do, when that is not allowed. */
export function makeStateFolder(path: string): void {
  const missing: string[] = [];
  for (let folder = resolve(path); !existsSync(folder); folder = dirname(folder)) missing.unshift(folder);
  try {
    // One by one: Node's recursive mode never returns where a folder exists in which none can be made, as in /proc.
    for (const folder of missing) makeFolder(folder);
  } catch (cause) {
    throw toFolderError(path, cause as NodeJS.ErrnoException);
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process made it in this moment.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function toFolderError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('CONFIG_INVALID', `cannot create the folder ${path} (${cause.code ?? 'unknown cause'})`, {
    details: { path, cause: cause.code },
    suggestion:
      cause.code === 'ENOSPC' || cause.code === 'EDQUOT'
        ? `the disk is full: free some space (df -h ${dirname(path)} shows how much there is)`
        : 'give this user write permission on its home folder, or set HOME to a folder that it may write to',
    cause,
  });
}
