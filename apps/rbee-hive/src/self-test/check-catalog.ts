import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@rbee/daemon-kit';

/**
 * Makes a new catalog in `folder`, then opens a copy of the one there is, which brings it to the schema of this
 * release. Throws when SQLite cannot be loaded, the catalog is damaged, or a migration fails.
 */
export async function checkCatalog(catalogDb: string, folder: string, clock: Clock): Promise<string> {
  await countModels(join(folder, 'new.db'), clock);
  if (!existsSync(catalogDb)) return 'a new catalog can be made';
  const { copyCatalog } = await import('../release/copy-catalog.js');
  const copy = join(folder, 'copy.db');
  await copyCatalog(catalogDb, copy);
  return `the catalog with its ${await countModels(copy, clock)} models can be used`;
}

async function countModels(file: string, clock: Clock): Promise<number> {
  // SQLite is loaded only here: that it cannot be is one of the findings.
  const { CatalogDatabase } = await import('../catalog/catalog-database.js');
  const database = new CatalogDatabase(file, clock);
  try {
    const rows = await database.use((db) => db.selectFrom('models').select('id').execute());
    return rows.length;
  } finally {
    await database.close();
  }
}
