import type { RunProgram } from './run-program.js';
import { BYTES_PER_MB, type Memory } from './snapshot.js';

/** Memory of a Mac from `vm_stat`; `totalBytes` as the system reports it. Null when the tool gives nothing readable. */
export async function readMacMemory(run: RunProgram, totalBytes: number): Promise<Memory | null> {
  const output = await run('vm_stat', []);
  const availableMb = output.ok ? parseVmStat(output.stdout) : null;
  return availableMb === null ? null : { totalMb: Math.floor(totalBytes / BYTES_PER_MB), availableMb };
}

/** MB in pages that are free or can be taken at once: free, inactive, speculative and purgeable. */
export function parseVmStat(stdout: string): number | null {
  const pageBytes = Number(/page size of (\d+) bytes/.exec(stdout)?.[1]);
  const pages = (name: string) => Number(new RegExp(`^Pages ${name}:\\s+(\\d+)`, 'm').exec(stdout)?.[1] ?? Number.NaN);
  const free = pages('free');
  if (!Number.isFinite(pageBytes) || !Number.isFinite(free)) return null;
  const reusable = ['inactive', 'speculative', 'purgeable'].map(pages).filter(Number.isFinite);
  return Math.floor(([free, ...reusable].reduce((sum, count) => sum + count, 0) * pageBytes) / BYTES_PER_MB);
}
