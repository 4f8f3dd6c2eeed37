import { mkdirSync } from 'node:fs';
import { RbeeError } from '@rbee/protocol';

/** Makes a folder for the user alone. Throws CONFIG_INVALID, with the folder and what to do, when that is not allowed. */
export function makeStateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw toFolderError(path, cause as NodeJS.ErrnoException);
  }
}

function toFolderError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('CONFIG_INVALID', `cannot create the folder ${path} (${cause.code ?? 'unknown cause'})`, {
    details: { path, cause: cause.code },
    suggestion: 'give this user write permission on its home folder, or set HOME to a folder that it may write to',
    cause,
  });
}
