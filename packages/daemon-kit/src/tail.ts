import { open } from 'node:fs/promises';

const BLOCK = 64 * 1024;
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * The last `count` lines of a file, oldest first; none when the file is missing. Reads only as much of its end as
 * needed, and never more than 64 MiB: of a longer text the oldest part is left out.
 */
export async function readLastLines(path: string, count: number): Promise<string[]> {
  if (count <= 0) return [];
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!file) return [];
  try {
    let position = (await file.stat()).size;
    const blocks: Buffer[] = [];
    let lineBreaks = 0;
    const end = Math.max(0, position - MAX_BYTES);
    while (position > end && lineBreaks <= count) {
      const length = Math.min(BLOCK, position);
      position -= length;
      const block = Buffer.alloc(length);
      const { bytesRead } = await file.read(block, 0, length, position);
      // Less comes back where the file was cut meanwhile.
      const read = block.subarray(0, bytesRead);
      for (const byte of read) if (byte === 10) lineBreaks++;
      blocks.unshift(read);
    }
    const lines = Buffer.concat(blocks).toString('utf8').split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines.slice(-count);
  } finally {
    await file.close();
  }
}
