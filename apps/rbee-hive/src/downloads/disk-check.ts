import { RbeeError } from '@rbee/protocol';
import { BYTES_PER_MB } from '../probe/snapshot.js';

export interface DiskNeed {
  readonly modelRef: string;
  /** Bytes that have to come yet. */
  readonly missingBytes: number;
  readonly freeBytes: number;
  /** Bytes that other downloads will still write. */
  readonly promisedBytes: number;
}

/** Decides whether a model has room on the disk. Throws INSUFFICIENT_DISK with `required`, `available` and `missing` in MB. */
export function checkDisk({ modelRef, missingBytes, freeBytes, promisedBytes }: DiskNeed): void {
  if (missingBytes <= freeBytes - promisedBytes) return;
  const required = Math.ceil(missingBytes / BYTES_PER_MB);
  const available = Math.max(0, Math.floor((freeBytes - promisedBytes) / BYTES_PER_MB));
  const missing = required - available;
  const promised = promisedBytes > 0 ? ' besides what other downloads need' : '';
  throw new RbeeError(
    'INSUFFICIENT_DISK',
    `not enough disk for ${modelRef}: need ${required} MB, ${available} MB are free${promised}, ${missing} MB are missing`,
    {
      details: { required, available, missing, model: modelRef },
      suggestion: 'see which models are there (rbee-keeper models list) and remove one: rbee-keeper models rm ID',
    },
  );
}
