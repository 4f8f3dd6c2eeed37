import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Bytes of the machine's memory that come free when a process ends. Pages of files that it has mapped, such as weights, are not among
 * them: Linux counts those as available already. `undefined` where the system does not tell, or the process has gone.
 */
export async function readPrivateBytes(pid: number, root = '/'): Promise<number | undefined> {
  const text = await readFile(join(root, 'proc', String(pid), 'status'), 'utf8').catch(() => undefined);
  const kb = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text ?? '')?.[1] ?? Number.NaN);
  const bytes = (kb('RssAnon') + kb('RssShmem')) * 1024;
  return Number.isFinite(bytes) ? bytes : undefined;
}
