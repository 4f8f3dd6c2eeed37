import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, makeStateFolder } from '@rbee/daemon-kit';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import {
  type DatabaseFailure,
  isSqliteError,
  isUsable,
  toOpeningError,
  toUseError,
  toWaitingError,
} from './database-failure.js';
import { type Migrations, migrate } from './migrate.js';

const BUSY_TIMEOUT_MS = 5_000;
const FIRST_REOPEN_MS = 100;
const LAST_REOPEN_MS = 5_000;

export interface SqliteFileOptions {
  /** Path of the database; it and its folder are made where they are missing, for the user alone. */
  readonly file: string;
  readonly clock: Clock;
  readonly migrations: Migrations;
  readonly failure: DatabaseFailure;
}

/**
 * Owns the connection to one SQLite file, which is opened by the first use. A database that fails is closed and opened
 * again, at most once per waiting time, which doubles from 100 ms to 5 s; meanwhile every use throws the error that the
 * options name, and the daemon keeps running.
 */
export class SqliteFile<Schema> {
  readonly #options: SqliteFileOptions;
  #connection: Promise<Kysely<Schema>> | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  #reopenMs = FIRST_REOPEN_MS;

  constructor(options: SqliteFileOptions) {
    this.#options = options;
  }

  /** Runs a query or a few. Throws the error of the options when the database fails; other errors pass. */
  async use<T>(query: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    const db = await this.#open();
    try {
      const result = await query(db);
      this.#reopenMs = FIRST_REOPEN_MS;
      return result;
    } catch (error) {
      if (!isSqliteError(error)) throw error;
      if (!isUsable(error)) await this.#drop();
      throw toUseError(this.#options.failure, error);
    }
  }

  /** Closes the file; the write-ahead log is merged into it. A later use opens it again. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    // An opening that fails has told its own caller.
    const db = await connection?.catch(() => undefined);
    await db?.destroy();
  }

  #open(): Promise<Kysely<Schema>> {
    if (this.#connection) return this.#connection;
    const { clock, failure } = this.#options;
    const waitedMs = clock.monotonic() - this.#failedAt;
    if (waitedMs < this.#reopenMs) throw toWaitingError(failure);
    const opening = openFile<Schema>(this.#options).catch((cause: unknown) => {
      this.#noteFailure(opening);
      throw toOpeningError(failure, cause);
    });
    this.#connection = opening;
    return opening;
  }

  async #drop(): Promise<void> {
    const connection = this.#connection;
    this.#noteFailure(connection);
    // Closing a broken file may fail as well; there is nothing left to save then.
    await connection?.then((db) => db.destroy()).catch(() => undefined);
  }

  #noteFailure(connection: Promise<Kysely<Schema>> | undefined): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#failedAt = this.#options.clock.monotonic();
    this.#reopenMs = Math.min(this.#reopenMs * 2, LAST_REOPEN_MS);
  }
}

async function openFile<Schema>({ file, migrations }: SqliteFileOptions): Promise<Kysely<Schema>> {
  makeStateFolder(dirname(file));
  makePrivateFile(file);
  const database = new Database(file);
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database }) });
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('foreign_keys = ON');
    database.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    await migrate(db, migrations);
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
