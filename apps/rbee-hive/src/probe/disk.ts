import type { StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BYTES_PER_MB, type Disk } from './snapshot.js';

/** Size and free space, for this user, of the file system that holds `folder` or would hold it once it is made. */
export async function readDisk(folder: string): Promise<Disk> {
  const { blocks, bavail, bsize } = await statfsOfNearest(folder);
  return {
    totalMb: Math.floor((blocks * bsize) / BYTES_PER_MB),
    availableMb: Math.floor((bavail * bsize) / BYTES_PER_MB),
  };
}

async function statfsOfNearest(folder: string): Promise<StatsFs> {
  try {
    return await statfs(folder);
  } catch (error) {
    const parent = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === folder) throw error;
    return statfsOfNearest(parent);
  }
}
