import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

const BLOCK_BYTES = 1024 * 1024;

/**
 * SHA-256 of a file in lower-case hexadecimal. Between its blocks other work goes on, however large the file is. Throws
 * the signal's reason; file system errors pass.
 */
export async function digestOfFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    // Read through one buffer: the garbage of a stream would stay with the hive as resident memory.
    const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, (await file.stat()).size + 1));
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(block, 0, block.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(block.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

/**
 * Digest of a model from those of its files, in the order of their parts: that of its only file, or the SHA-256 of all of
 * them, in lower-case hexadecimal, one after the other. Null when one is not known.
 */
export function digestOfModel(files: readonly { digest?: string | undefined }[]): string | null {
  const digests = files.map(({ digest }) => digest);
  if (digests.length === 0 || digests.includes(undefined)) return null;
  if (digests.length === 1) return digests[0] ?? null;
  return createHash('sha256').update(digests.join('')).digest('hex');
}
