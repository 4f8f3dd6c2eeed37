import { chmod, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStateFolder } from '@rbee/daemon-kit';
import { copyCatalog } from './copy-catalog.js';

const KEPT = 5;
const BACKUP = /^models-\d{8}T\d{9}Z\.db$/;
const UNFINISHED = /^models-\d{8}T\d{9}Z\.db\.new(-journal)?$/;
/** Longer than a copy takes. */
const ABANDONED_MS = 3_600_000;

/** Keeps a copy of the catalog in `folder`, named after the time in UTC; all but the newest five go. */
export async function backUpCatalog(catalogDb: string, folder: string, now: number): Promise<string> {
  makeStateFolder(folder);
  const path = join(folder, nameOf(now));
  const unfinished = `${path}.new`;
  try {
    await copyCatalog(catalogDb, unfinished);
    await chmod(unfinished, 0o600);
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
  const entries = await readdir(folder);
  const backups = entries.filter((entry) => BACKUP.test(entry)).sort();
  const abandoned = entries.filter((entry) => UNFINISHED.test(entry) && entry < nameOf(now - ABANDONED_MS));
  for (const old of [...backups.slice(0, -KEPT), ...abandoned]) await rm(join(folder, old), { force: true });
  return path;
}

/** Names sort as the times do. */
function nameOf(time: number): string {
  return `models-${new Date(time).toISOString().replace(/[-:.]/g, '')}.db`;
}
