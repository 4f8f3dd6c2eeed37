import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { migrateCatalog } from './migrations.js';
import type { CatalogSchema } from './schema.js';

const BUSY_TIMEOUT_MS = 5_000;
const FIRST_REOPEN_MS = 100;
const LAST_REOPEN_MS = 5_000;

/**
 * Owns the connection to the catalog file. A database that fails is closed and opened again, at most once per waiting
 * time, which doubles from 100 ms to 5 s; meanwhile every use is CATALOG_UNAVAILABLE and the hive keeps running.
 */
export class CatalogDatabase {
  private connection: Promise<Kysely<CatalogSchema>> | null = null;
  private failedAt = Number.NEGATIVE_INFINITY;
  private reopenMs = FIRST_REOPEN_MS;

  constructor(
    private readonly file: string,
    private readonly clock: Clock,
  ) {}

  /** Runs a query or a few. Throws CATALOG_UNAVAILABLE when the database fails; other errors pass. */
  async use<T>(query: (db: Kysely<CatalogSchema>) => Promise<T>): Promise<T> {
    try {
      const result = await query(await this.open());
      this.reopenMs = FIRST_REOPEN_MS;
      return result;
    } catch (error) {
      if (!isSqliteError(error)) throw error;
      if (!isUsable(error)) await this.drop();
      throw unavailable(error);
    }
  }

  /** Closes the file; the write-ahead log is merged into it. A later use opens it again. */
  async close(): Promise<void> {
    const connection = this.connection;
    this.connection = null;
    await (await connection)?.destroy();
  }

  private open(): Promise<Kysely<CatalogSchema>> {
    if (this.connection !== null) return this.connection;
    const waitedMs = this.clock.monotonic() - this.failedAt;
    if (waitedMs < this.reopenMs) throw unavailable();
    const opening = openCatalog(this.file);
    this.connection = opening;
    opening.catch(() => this.noteFailure(opening));
    return opening;
  }

  private async drop(): Promise<void> {
    const connection = this.connection;
    this.noteFailure(connection);
    // Closing a broken file may fail as well; there is nothing left to save then.
    await connection?.then((db) => db.destroy()).catch(() => undefined);
  }

  private noteFailure(connection: Promise<Kysely<CatalogSchema>> | null): void {
    if (this.connection !== connection) return;
    this.connection = null;
    this.failedAt = this.clock.monotonic();
    this.reopenMs = Math.min(this.reopenMs * 2, LAST_REOPEN_MS);
  }
}

async function openCatalog(file: string): Promise<Kysely<CatalogSchema>> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = openDatabase(file);
  const db = new Kysely<CatalogSchema>({ dialect: new SqliteDialect({ database }) });
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('foreign_keys = ON');
    database.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    await migrateCatalog(db);
    return db;
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

function openDatabase(file: string): Database.Database {
  try {
    return new Database(file);
  } catch (error) {
    throw isBindingError(error) ? bindingMissing(error) : error;
  }
}

/** Whether the native part of better-sqlite3 is missing, or was compiled for another version of Node.js. */
export function isBindingError(error: unknown): error is Error {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === 'ERR_DLOPEN_FAILED' || /could not locate the bindings file/i.test(String(message));
}

function bindingMissing(cause: Error): RbeeError {
  const version = process.version;
  return new RbeeError(
    'CATALOG_UNAVAILABLE',
    `the model catalog can't be opened: the SQLite binding (better-sqlite3) is not compiled for Node.js ${version}`,
    {
      details: { cause: 'better-sqlite3' },
      suggestion: 'install python3, make and g++, then run in the checkout: npx --yes pnpm@12.21.0 install',
      retryable: false,
      cause,
    },
  );
}

/** By its code: the class is the one of whichever copy of the module loaded the native addon first. */
function isSqliteError(error: unknown): error is { code: string } {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && code.startsWith('SQLITE_');
}

/** Whether the connection survives the error: a broken rule or a lock is no reason to reopen the file. */
function isUsable(error: { code: string }): boolean {
  return /^SQLITE_(CONSTRAINT|BUSY|LOCKED)/.test(error.code);
}

function unavailable(cause?: { code: string }): RbeeError {
  const why = cause === undefined ? 'it failed a moment ago and is opened again shortly' : cause.code;
  return new RbeeError('CATALOG_UNAVAILABLE', `the model catalog can't be used: ${why}`, {
    details: { cause: cause?.code },
    suggestion: 'try again in a few seconds; if it stays, look into the hive log: rbee-keeper logs --node localhost',
    cause,
  });
}
