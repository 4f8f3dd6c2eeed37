import type { Clock } from '@rbee/daemon-kit';
import { SqliteFile } from '@rbee/database';
import { REGISTRY_MIGRATIONS } from './registry-migrations.js';
import type { RegistrySchema } from './registry-schema.js';

/**
 * The file of the node registry. While it cannot be used, every use throws REGISTRY_ERROR and the queen keeps running.
 */
export class RegistryDatabase extends SqliteFile<RegistrySchema> {
  constructor(file: string, clock: Clock) {
    super({
      file,
      clock,
      migrations: REGISTRY_MIGRATIONS,
      failure: {
        code: 'REGISTRY_ERROR',
        what: 'the node registry',
        suggestion:
          'try again in a few seconds; if it stays, look into ~/.rbee/logs/queen-rbee.log; a damaged ~/.rbee/beehives.db can be moved away and its nodes added again',
      },
    });
  }
}
