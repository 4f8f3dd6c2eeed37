import { open } from 'node:fs/promises';

const BLOCK = 64 * 1024;

/** The last `count` lines of a file, oldest first; none when the file is missing. Reads only as much of its end as needed. */
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
    while (position > 0 && lineBreaks <= count) {
      const length = Math.min(BLOCK, position);
      position -= length;
      const block = Buffer.alloc(length);
      await file.read(block, 0, length, position);
      for (const byte of block) if (byte === 10) lineBreaks++;
      blocks.unshift(block);
    }
    const lines = Buffer.concat(blocks).toString('utf8').split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines.slice(-count);
  } finally {
    await file.close();
  }
}
