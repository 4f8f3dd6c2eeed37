import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PROJECT } from './world.js';

interface Database {
  prepare(sql: string): { all(): unknown[] };
  close(): void;
}
type OpenDatabase = new (file: string, options: { readonly: boolean }) => Database;

/** Rows of the queen's registry as they stand in its SQLite file, by name; none where the file was never made. */
export function readRegistry(home: string): Map<string, Record<string, unknown>> {
  const file = join(home, '.rbee/beehives.db');
  if (!existsSync(file)) return new Map();
  // The suite has no database of its own; this is the library that the queen uses.
  const Database = createRequire(join(PROJECT, 'packages/database/package.json'))('better-sqlite3') as OpenDatabase;
  const database = new Database(file, { readonly: true });
  try {
    const rows = database.prepare('select * from beehives').all() as Record<string, unknown>[];
    return new Map(rows.map((row) => [String(row.node_name), row]));
  } finally {
    database.close();
  }
}
