import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROJECT } from './world.js';

interface Database {
  prepare(sql: string): { all(): unknown[] };
  close(): void;
}
type OpenDatabase = new (file: string) => Database;

const FILES = ['beehives.db', 'models.db', 'tasks.db'];

/** How many rows each table of the databases of queen and hive has, by `file table`. */
export function countRows(home: string): Record<string, number> {
  // A database that its daemon keeps to itself can be read in a copy only.
  const folder = mkdtempSync(join(tmpdir(), 'rbee-rows-'));
  try {
    return Object.assign({}, ...FILES.map((name) => countIn(join(home, '.rbee', name), join(folder, name), name)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function countIn(file: string, copy: string, name: string): Record<string, number> {
  if (!existsSync(file)) return {};
  for (const part of ['', '-wal']) if (existsSync(file + part)) copyFileSync(file + part, copy + part);
  // The suite has no database of its own; this is the library that queen and hive use.
  const Database = createRequire(join(PROJECT, 'packages/database/package.json'))('better-sqlite3') as OpenDatabase;
  const database = new Database(copy);
  try {
    const tables = database.prepare("select name from sqlite_master where type = 'table'").all() as { name: string }[];
    const counts = tables.map(({ name: table }) => {
      const [row] = database.prepare(`select count(*) as count from "${table}"`).all() as { count: number }[];
      return [`${name} ${table}`, row?.count ?? 0] as const;
    });
    return Object.fromEntries(counts);
  } finally {
    database.close();
  }
}
