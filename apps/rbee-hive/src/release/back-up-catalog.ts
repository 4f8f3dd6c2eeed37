import { chmod, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStateFolder } from '@rbee/daemon-kit';
import { copyCatalog } from './copy-catalog.js';

const KEPT = 5;
const BACKUP = /^models-\d{8}T\d{9}Z\.db$/;

/** Keeps a copy of the catalog in `folder`, named after the time in UTC, and removes all but the newest five. */
export async function backUpCatalog(catalogDb: string, folder: string, now: number): Promise<string> {
  makeStateFolder(folder);
  const name = `models-${new Date(now).toISOString().replace(/[-:.]/g, '')}.db`;
  const path = join(folder, name);
  const unfinished = `${path}.new`;
  try {
    await copyCatalog(catalogDb, unfinished);
    await chmod(unfinished, 0o600);
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
  const backups = (await readdir(folder)).filter((entry) => BACKUP.test(entry)).sort();
  for (const old of backups.slice(0, -KEPT)) await rm(join(folder, old), { force: true });
  return path;
}
