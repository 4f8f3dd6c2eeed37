import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeStateFolder } from '@rbee/daemon-kit';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { inodeOf, isDamage, requireIntegrity, setAside } from './damage.js';
import { isSqliteError } from './database-failure.js';
import { type Migrations, migrate } from './migrate.js';

const BUSY_TIMEOUT_MS = 5_000;
const IN_MEMORY = ':memory:';

/** What stands in the place of a damaged file. */
export interface Replacement {
  /** What was wrong: a code of SQLite, or its finding. */
  readonly cause: string;
  /** Where the damaged file is now; left out when it could not be moved. */
  readonly backup?: string;
  /** Why no new file could be made, so that the new database is lost when the process ends. */
  readonly inMemoryBecause?: string;
}

/** How a database was found when it was opened. */
export interface Opening {
  /** Nothing was in it: its tables have just been made. */
  readonly made: boolean;
  readonly replaced?: Replacement;
}

export interface DatabaseOptions<Schema> {
  /** Path of the database; it and its folder are made where they are missing, for the user alone. */
  readonly file: string;
  readonly migrations: Migrations;
  /**
   * Checks the whole file at each opening. A damaged one is kept beside it as `<file>.corrupt.backup`, and a new database
   * takes its place, in memory where no file can be made. Without it a damaged file stays, and every use fails.
   */
  readonly replaceDamaged?: boolean;
  /**
   * Gets the connection before anything is read, to set pragmas that must come first, and to keep it for statements that Kysely
   * would be too slow for.
   */
  readonly connect?: (database: Database.Database) => void;
  /** How long a lock of another process is waited for, with the whole process standing still. Default 5 s. */
  readonly busyTimeoutMs?: number;
  /**
   * Runs at each opening, before anybody uses the database, of which it must use `db` only. A query that fails because
   * its table or column is missing tells that the file is damaged.
   */
  readonly prepare?: (db: Kysely<Schema>, opening: Opening) => Promise<void>;
}

/** Opens a database and brings it to the newest schema. What SQLite or the file system throws passes. */
export async function openDatabase<Schema>(options: DatabaseOptions<Schema>): Promise<Kysely<Schema>> {
  const { file, replaceDamaged = false } = options;
  const inode = inodeOf(file);
  try {
    return await openAndPrepare(options, file);
  } catch (cause) {
    if (!replaceDamaged || !isDamage(cause, true)) throw cause;
    // Another process has put a new file there: that one is not damaged yet.
    if (inodeOf(file) !== inode) return openAndPrepare(options, file);
    return replace(options, cause as Error);
  }
}

async function replace<Schema>(options: DatabaseOptions<Schema>, cause: Error): Promise<Kysely<Schema>> {
  const what = isSqliteError(cause) ? cause.code : cause.message;
  let replaced: Replacement = { cause: what };
  try {
    replaced = { cause: what, backup: setAside(options.file) };
    return await openAndPrepare(options, options.file, replaced);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    replaced = { ...replaced, inMemoryBecause: code ?? message };
    return openAndPrepare(options, IN_MEMORY, replaced);
  }
}

async function openAndPrepare<Schema>(
  options: DatabaseOptions<Schema>,
  file: string,
  replaced?: Replacement,
): Promise<Kysely<Schema>> {
  const { migrations, replaceDamaged = false, connect, busyTimeoutMs = BUSY_TIMEOUT_MS, prepare } = options;
  if (file !== IN_MEMORY) {
    makeStateFolder(dirname(file));
    makePrivateFile(file);
  }
  const database = new Database(file, { timeout: busyTimeoutMs });
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database }) });
  try {
    connect?.(database);
    database.pragma('journal_mode = WAL');
    database.pragma('foreign_keys = ON');
    database.pragma(`busy_timeout = ${busyTimeoutMs}`);
    if (replaceDamaged) requireIntegrity(database);
    const made = database.prepare('select 1 from sqlite_master').get() === undefined;
    await migrate(db, migrations);
    await prepare?.(db, replaced === undefined ? { made } : { made, replaced });
    return db;
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

/** SQLite alone would make a file that others can read; its companions get the permissions of this one. */
function makePrivateFile(file: string): void {
  try {
    closeSync(openSync(file, 'ax', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
