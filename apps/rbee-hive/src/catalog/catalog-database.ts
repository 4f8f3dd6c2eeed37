import type { Clock } from '@rbee/daemon-kit';
import { type Opening, SqliteFile } from '@rbee/database';
import type { Kysely } from 'kysely';
import { MIGRATIONS } from './migrations.js';
import { type CatalogSchema, requireSchema } from './schema.js';

/**
 * The file of the model catalog. While it cannot be used, every use throws CATALOG_UNAVAILABLE and the hive keeps
 * running.
 */
export class CatalogDatabase extends SqliteFile<CatalogSchema> {
  /** With `prepare`, which runs at each opening before anybody uses the catalog, a damaged file is replaced by a new one. */
  constructor(file: string, clock: Clock, prepare?: (db: Kysely<CatalogSchema>, opening: Opening) => Promise<void>) {
    super({
      file,
      clock,
      migrations: MIGRATIONS,
      replaceDamaged: prepare !== undefined,
      prepare: async (db, opening) => {
        await requireSchema(db);
        await prepare?.(db, opening);
      },
      failure: {
        code: 'CATALOG_UNAVAILABLE',
        what: 'the model catalog',
        suggestion:
          'try again in a few seconds; if it stays, look into the hive log: rbee-keeper logs --node localhost',
      },
    });
  }
}
