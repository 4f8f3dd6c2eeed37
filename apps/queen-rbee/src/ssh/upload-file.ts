import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { orAborted } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { SFTPWrapper } from 'ssh2';
import type { UploadOptions } from '../machine/machine.js';
import type { Hop } from './hop.js';

const CHUNK_BYTES = 32 * 1024;
/** Together half a megabyte on the way: enough for a fast network, and it does not stop a slow one for long. */
const CHUNKS_ON_THE_WAY = 16;

/** Puts a file on the host of a hop; see `Machine.upload`. */
export async function uploadFile(
  hop: Hop,
  source: Buffer | { readonly path: string },
  target: string,
  options: UploadOptions,
): Promise<void> {
  const { signal } = options;
  signal?.throwIfAborted();
  const local = Buffer.isBuffer(source) ? bufferSource(source) : await fileSource(source.path);
  try {
    const sftp = await openSftp(hop, target);
    try {
      const sending = send(sftp, local, target, options);
      await orAborted(sending, hop.lost);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (hop.lost.aborted) throw hop.lost.reason;
      throw notWritten(hop, target, error);
    } finally {
      sftp.end();
    }
  } finally {
    await local.close();
  }
}

interface Source {
  readonly size: number;
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

function bufferSource(content: Buffer): Source {
  return {
    size: content.length,
    read: async (offset, length) => content.subarray(offset, offset + length),
    close: async () => undefined,
  };
}

async function fileSource(path: string): Promise<Source> {
  const file: FileHandle = await open(path);
  const { size } = await file.stat();
  return {
    size,
    read: async (offset, length) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead < length) throw new Error(`${path} became shorter while it was sent`);
      return buffer;
    },
    close: () => file.close(),
  };
}

async function openSftp(hop: Hop, target: string): Promise<SFTPWrapper> {
  try {
    const sftp = await hop.sftp();
    // Whoever waits for an answer is told as well; without a listener the process would end.
    sftp.on('error', () => undefined);
    return sftp;
  } catch (error) {
    if (hop.lost.aborted) throw hop.lost.reason;
    throw noSftp(hop, target, error);
  }
}

async function send(sftp: SFTPWrapper, source: Source, target: string, options: UploadOptions): Promise<void> {
  const { mode, signal, onProgress } = options;
  const temporary = `${target}.${randomUUID().slice(0, 8)}.part`;
  const handle = await done<Buffer>((callback) => sftp.open(temporary, 'wx', { mode }, callback));
  try {
    try {
      // The server's mask may have taken something away; nothing has been written yet that could be read.
      await done((callback) => sftp.fchmod(handle, mode, callback));
      await sendContent(sftp, handle, source, signal, onProgress);
    } finally {
      await done((callback) => sftp.close(handle, callback));
    }
    await replace(sftp, temporary, target);
  } catch (error) {
    await done((callback) => sftp.unlink(temporary, callback)).catch(() => undefined);
    throw error;
  }
}

async function sendContent(
  sftp: SFTPWrapper,
  handle: Buffer,
  { size, read }: Source,
  signal: AbortSignal | undefined,
  onProgress: UploadOptions['onProgress'],
): Promise<void> {
  let next = 0;
  let bytesDone = 0;
  const sendChunks = async () => {
    while (next < size) {
      signal?.throwIfAborted();
      const offset = next;
      const length = Math.min(CHUNK_BYTES, size - offset);
      next += length;
      const chunk = await read(offset, length);
      await done((callback) => sftp.write(handle, chunk, 0, length, offset, callback));
      bytesDone += length;
      onProgress?.(bytesDone, size);
    }
  };
  const results = await Promise.allSettled(Array.from({ length: CHUNKS_ON_THE_WAY }, sendChunks));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

/** A plain rename of SFTP does not replace a file; OpenSSH's does, in one step. */
async function replace(sftp: SFTPWrapper, from: string, to: string): Promise<void> {
  try {
    await done((callback) => sftp.ext_openssh_rename(from, to, callback));
  } catch (error) {
    if (!/does not support|not supported|unsupported/i.test((error as Error).message)) throw error;
    await done((callback) => sftp.unlink(to, callback)).catch(() => undefined);
    await done((callback) => sftp.rename(from, to, callback));
  }
}

function done<T = void>(start: (callback: (error: Error | null | undefined, value: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value)));
  });
}

function notWritten({ destination: { host } }: Hop, path: string, error: unknown): RbeeError {
  return new RbeeError('SSH_COMMAND_FAILED', `${path} cannot be written on ${host}: ${(error as Error).message}`, {
    details: { host, path },
    suggestion: `check the folder and the free space there: ls -ld and df -h of ${path}`,
    cause: error,
  });
}

function noSftp({ destination: { host } }: Hop, path: string, error: unknown): RbeeError {
  return new RbeeError('SSH_COMMAND_FAILED', `sshd on ${host} takes no files: ${(error as Error).message}`, {
    details: { host, path, setting: 'Subsystem sftp' },
    suggestion: 'set "Subsystem sftp internal-sftp" in its /etc/ssh/sshd_config and reload sshd',
    cause: error,
  });
}
