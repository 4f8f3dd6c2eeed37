import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@rbee/daemon-kit';

const KEPT_MS = 7 * 24 * 3_600_000;
const KEPT_FILES = 50;

/** Removes logs of workers that ended long ago, and the oldest of too many. Returns how many. */
export async function cleanWorkerLogs(folder: string, clock: Clock, inUse: ReadonlySet<string>): Promise<number> {
  const names = (await readdir(folder)).filter((name) => /^worker-[\w-]+\.log$/.test(name));
  const logs = await Promise.all(
    names.map(async (name) => {
      const file = join(folder, name);
      return { file, changed: (await stat(file)).mtimeMs };
    }),
  );
  const old = logs
    .sort((a, b) => b.changed - a.changed)
    .filter(({ file, changed }, index) => !inUse.has(file) && (index >= KEPT_FILES || clock.now() - changed > KEPT_MS));
  await Promise.all(old.map(({ file }) => rm(file, { force: true })));
  return old.length;
}
