import type { Clock } from '@rbee/daemon-kit';
import { SqliteFile } from '@rbee/database';
import { MIGRATIONS } from './migrations.js';
import type { CatalogSchema } from './schema.js';

/**
 * The file of the model catalog. While it cannot be used, every use throws CATALOG_UNAVAILABLE and the hive keeps
 * running.
 */
export class CatalogDatabase extends SqliteFile<CatalogSchema> {
  constructor(file: string, clock: Clock) {
    super({
      file,
      clock,
      migrations: MIGRATIONS,
      failure: {
        code: 'CATALOG_UNAVAILABLE',
        what: 'the model catalog',
        suggestion:
          'try again in a few seconds; if it stays, look into the hive log: rbee-keeper logs --node localhost',
      },
    });
  }
}
