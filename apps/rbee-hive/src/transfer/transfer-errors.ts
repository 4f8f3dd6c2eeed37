import { basename } from 'node:path';
import { isRbeeError, RbeeError } from '@rbee/protocol';

/** Whether the file system has no room left, for anybody or for this user. */
export function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** What a failure of the file system means for the download of a file: DISK_FULL, or DOWNLOAD_FAILED that repeating won't help. */
export function toTransferError(cause: unknown, target: string): RbeeError {
  if (isRbeeError(cause)) return cause;
  const file = basename(target);
  const { code = 'unknown cause' } = cause as NodeJS.ErrnoException;
  if (isFull(cause)) {
    return new RbeeError('DISK_FULL', `the disk is full: what had come of ${file} was removed`, {
      details: { file, cause: code, partial_removed: true },
      suggestion: 'free some space on the node, for example with rbee-keeper models rm, and repeat the command',
      cause,
    });
  }
  return new RbeeError('DOWNLOAD_FAILED', `${file} cannot be written (${code})`, {
    details: { file, cause: code },
    retryable: false,
    suggestion: 'check the disk and the permissions of the models folder on the node',
    cause,
  });
}
