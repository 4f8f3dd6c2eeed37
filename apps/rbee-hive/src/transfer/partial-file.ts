import { createHash, type Hash } from 'node:crypto';
import { constants, type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import { deletePartial, isPartialLocked, lockPartial, type PartialLock } from './partial-lock.js';
import { isFull, toTransferError } from './transfer-errors.js';

/** What a file has to be once it is complete. */
export interface ExpectedFile {
  readonly sizeBytes: number;
  /** SHA-256 in lower-case hexadecimal; without it only the size is checked, and nothing is gone on with. */
  readonly digest: string | undefined;
}

const BLOCK_BYTES = 1024 * 1024;
/** What is written goes to the disk for good in pieces of this size, so that the rest is small at the end. */
const SYNC_BYTES = 64 * 1024 * 1024;
const WITHOUT_DIGEST = 'unverified';
/** Ends of the names of partial files: first digits of the digest, or none known. */
const PARTIAL_END = /^\.(?:[0-9a-f]{16}|unverified)\.partial$/;

/** Where the partial file of a target lies. */
export function partialPathOf(target: string, { digest }: ExpectedFile): string {
  return `${target}.${digest?.slice(0, 16) ?? WITHOUT_DIGEST}.partial`;
}

/** Whether a file of this name is a partial file. */
export function isPartialName(name: string): boolean {
  return PARTIAL_END.test(/(?:\.[^.]+){2}$/.exec(name)?.[0] ?? '');
}

/** Bytes of a file that an earlier attempt has left and the next one goes on from. */
export async function readPartialSize(target: string, expected: ExpectedFile): Promise<number> {
  if (expected.digest === undefined) return 0;
  const size = await stat(partialPathOf(target, expected)).then(
    (found) => found.size,
    () => 0,
  );
  return size <= expected.sizeBytes ? size : 0;
}

/**
 * A file that is not complete yet: `<name>.<first 16 digits of the digest>.partial` beside its final place. One process at
 * a time has it open. Bytes are hashed as they are written, those of earlier attempts when it is opened; only a file of the
 * right size and digest gets its final name. Calls must not overlap.
 */
export class PartialFile {
  private hash: Hash = createHash('sha256');
  private received = 0;
  /** The block that takes bytes; the other one is being written meanwhile. */
  private filling: Buffer;
  private spare: Buffer;
  private filled = 0;
  private writing: Promise<void> = Promise.resolve();
  private syncing: Promise<void> | undefined;
  private unsynced = 0;
  private open = true;

  private constructor(
    private readonly target: string,
    private readonly expected: ExpectedFile,
    private readonly file: FileHandle,
    private readonly lock: PartialLock,
  ) {
    const blockBytes = Math.max(1, Math.min(BLOCK_BYTES, expected.sizeBytes));
    this.filling = Buffer.allocUnsafeSlow(blockBytes);
    this.spare = Buffer.allocUnsafeSlow(blockBytes);
  }

  /**
   * Opens the partial file of `target`, making folders and file where they are missing; partial files of other versions of
   * the same file are deleted. Throws DOWNLOAD_FAILED (retryable when another living process has it open), DISK_FULL, or
   * the signal's reason.
   */
  static async open(target: string, expected: ExpectedFile, signal?: AbortSignal): Promise<PartialFile> {
    const path = partialPathOf(target, expected);
    let lock: PartialLock | undefined;
    let file: FileHandle | undefined;
    try {
      signal?.throwIfAborted();
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      lock = await lockPartial(path);
      await deleteOtherVersions(target, path);
      file = await open(path, constants.O_RDWR | constants.O_CREAT);
      const partial = new PartialFile(target, expected, file, lock);
      await partial.readWhatIsThere(signal);
      return partial;
    } catch (error) {
      await file?.close();
      // On a full disk there may be no room for a lock either.
      if (isFull(error) && (lock || !(await isPartialLocked(path)))) await rm(path, { force: true });
      await lock?.release();
      if (signal?.aborted) throw signal.reason;
      throw toTransferError(error, target);
    }
  }

  /** Bytes that are there; the next ones belong here. */
  get offset(): number {
    return this.received;
  }

  /**
   * Takes a copy of the bytes; resolves when more may follow. Throws DISK_FULL, or CHECKSUM_MISMATCH when there are more
   * than the file has; after both it has been deleted. After DOWNLOAD_FAILED it is closed and stays.
   */
  async write(bytes: Uint8Array): Promise<void> {
    this.requireOpen();
    if (this.received + bytes.length > this.expected.sizeBytes) {
      await this.discard();
      throw this.toMismatch('more bytes have come than the file has');
    }
    for (let start = 0; start < bytes.length; ) {
      const part = bytes.subarray(start, start + this.filling.length - this.filled);
      this.filling.set(part, this.filled);
      this.filled += part.length;
      this.received += part.length;
      start += part.length;
      if (this.filled === this.filling.length) await this.guard(() => this.passOn());
    }
  }

  /** Begins anew with an empty file, for a server that does not serve ranges. */
  async restart(): Promise<void> {
    this.requireOpen();
    await this.guard(async () => {
      await this.writing;
      await this.file.truncate(0);
      this.hash = createHash('sha256');
      this.received = 0;
      this.filled = 0;
      this.unsynced = 0;
    });
  }

  /**
   * Checks size and digest, writes everything to the disk for good and renames. Throws CHECKSUM_MISMATCH, after which the
   * file has been deleted, DISK_FULL likewise, or DOWNLOAD_FAILED, after which it stays as it is: also when bytes are missing.
   */
  async commit(): Promise<void> {
    this.requireOpen();
    const { sizeBytes, digest } = this.expected;
    if (this.received < sizeBytes) {
      await this.suspend();
      throw new RbeeError(
        'DOWNLOAD_FAILED',
        `${basename(this.target)} ended after ${this.received} of ${sizeBytes} bytes`,
        {
          details: {
            file: basename(this.target),
            bytes: this.received,
            expected_bytes: sizeBytes,
            reason: 'the connection broke',
          },
          retryable: true,
        },
      );
    }
    await this.guard(() => this.passOn());
    const actual = this.hash.digest('hex');
    if (digest !== undefined && actual !== digest) {
      await this.discard();
      throw this.toMismatch('the bytes that have come are not those that were announced', { expected: digest, actual });
    }
    await this.guard(async () => {
      await this.writing;
      await this.syncing;
      await this.file.datasync();
      await this.requireSameFile();
      await rename(this.path, this.target);
    });
    await this.guard(() => syncFolder(dirname(this.target)));
    await this.close();
  }

  /** Closes it and keeps what is there, if anything is, also after an error. */
  async suspend(): Promise<void> {
    if (!this.open) return;
    await this.guard(async () => {
      await this.passOn();
      await this.writing;
      await this.syncing;
    });
    if (this.received === 0) await this.discard();
    else await this.close();
  }

  private get path(): string {
    return partialPathOf(this.target, this.expected);
  }

  /** Bytes of earlier attempts count only where the digest will tell whether they are right. */
  private async readWhatIsThere(signal: AbortSignal | undefined): Promise<void> {
    const { size } = await this.file.stat();
    if (size > this.expected.sizeBytes || this.expected.digest === undefined) return this.file.truncate(0);
    while (this.received < size) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.file.read(this.spare, 0, this.spare.length, this.received);
      if (bytesRead === 0) break;
      this.hash.update(this.spare.subarray(0, bytesRead));
      this.received += bytesRead;
    }
  }

  /** Hands the filled block on to the disk, once the one before is written; it is hashed while it is being written. */
  private async passOn(): Promise<void> {
    await this.writing;
    if (this.filled === 0) return;
    const block = this.filling.subarray(0, this.filled);
    this.writing = this.writeAt(block, this.received - this.filled);
    // Whoever needs the block to be written awaits it; until then a failure must not count as unhandled.
    this.writing.catch(() => undefined);
    this.hash.update(block);
    [this.filling, this.spare] = [this.spare, this.filling];
    this.filled = 0;
  }

  private async writeAt(block: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < block.length; ) {
      const { bytesWritten } = await this.file.write(block, done, block.length - done, position + done);
      done += bytesWritten;
    }
    this.unsynced += block.length;
    if (this.unsynced < SYNC_BYTES || this.syncing !== undefined) return;
    this.unsynced = 0;
    const syncing = this.file.datasync();
    this.syncing = syncing;
    // A failed one is kept: the system tells of a lost block only once.
    syncing.then(
      () => (this.syncing = undefined),
      () => undefined,
    );
  }

  /** Runs a part of the work; what the disk refuses ends the use of the file. */
  private async guard(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isFull(error)) await this.discard();
      else await this.close();
      throw toTransferError(error, this.target);
    }
  }

  /** Nothing but what was hashed may get the final name, whatever somebody did to the folder meanwhile. */
  private async requireSameFile(): Promise<void> {
    const [mine, there] = await Promise.all([this.file.stat(), stat(this.path)]);
    if (mine.ino === there.ino && mine.dev === there.dev && mine.size === this.received) return;
    throw new RbeeError('DOWNLOAD_FAILED', `${basename(this.path)} was changed by somebody else`, { retryable: true });
  }

  private async discard(): Promise<void> {
    await rm(this.path, { force: true });
    await this.close();
  }

  private async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await Promise.allSettled([this.writing, this.syncing]);
    await this.file.close();
    await this.lock.release();
  }

  private requireOpen(): void {
    if (!this.open) throw new Error(`the partial file of ${basename(this.target)} is closed`);
  }

  private toMismatch(reason: string, digests: { expected?: string; actual?: string } = {}): RbeeError {
    const file = basename(this.target);
    return new RbeeError('CHECKSUM_MISMATCH', `${file} is corrupt: ${reason}`, {
      details: { file, ...digests, reason: 'the file was corrupt (wrong SHA-256)' },
      retryable: true,
      suggestion: 'try again later: the file was deleted; it may be damaged at its source or by a proxy on the way',
    });
  }
}

async function deleteOtherVersions(target: string, partial: string): Promise<void> {
  const name = basename(target);
  const names = (await readdir(dirname(target))).filter(
    (other) => other.startsWith(name) && other !== basename(partial) && PARTIAL_END.test(other.slice(name.length)),
  );
  for (const other of names) await deletePartial(join(dirname(target), other));
}

/** The new name must outlive a loss of power as well. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
