import type { Clock } from '@rbee/daemon-kit';
import { isRbeeError } from '@rbee/protocol';
import type { Kysely } from 'kysely';
import { isDamage } from './damage.js';
import {
  type DatabaseFailure,
  isSqliteError,
  isUsable,
  toOpeningError,
  toUseError,
  toWaitingError,
} from './database-failure.js';
import { type DatabaseOptions, openDatabase } from './open-database.js';

const FIRST_REOPEN_MS = 100;
const LAST_REOPEN_MS = 5_000;

export interface SqliteFileOptions<Schema> extends DatabaseOptions<Schema> {
  readonly clock: Clock;
  readonly failure: DatabaseFailure;
}

/**
 * Owns the connection to one SQLite file, which is opened by the first use. A database that fails is closed and opened
 * again, at most once per waiting time, which doubles from 100 ms to 5 s; meanwhile every use throws the error that the
 * options name, and the daemon keeps running. A damaged file that may be replaced is replaced without waiting, and the
 * use that met the damage is made once more.
 */
export class SqliteFile<Schema> {
  readonly #options: SqliteFileOptions<Schema>;
  #connection: Promise<Kysely<Schema>> | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  #reopenMs = FIRST_REOPEN_MS;

  constructor(options: SqliteFileOptions<Schema>) {
    this.#options = options;
  }

  /** Runs a query or a few. Throws the error of the options when the database fails; other errors pass. */
  use<T>(query: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    return this.#run(query, this.#options.replaceDamaged ?? false);
  }

  /** Closes the file; the write-ahead log is merged into it. A later use opens it again. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    // An opening that fails has told its own caller.
    const db = await connection?.catch(() => undefined);
    await db?.destroy();
  }

  async #run<T>(query: (db: Kysely<Schema>) => Promise<T>, again: boolean): Promise<T> {
    const connection = this.#open();
    const db = await connection;
    try {
      const result = await query(db);
      this.#reopenMs = FIRST_REOPEN_MS;
      return result;
    } catch (error) {
      const { failure } = this.#options;
      if (!isSqliteError(error)) {
        // Another use met a failure, and the connection was closed in the middle of this one.
        throw this.#connection === connection || isRbeeError(error) ? error : toWaitingError(failure);
      }
      if (!isUsable(error)) await this.#drop(connection);
      if (!again || !isDamage(error)) throw toUseError(failure, error);
      this.#failedAt = Number.NEGATIVE_INFINITY;
      return this.#run(query, false);
    }
  }

  #open(): Promise<Kysely<Schema>> {
    if (this.#connection) return this.#connection;
    const { clock, failure } = this.#options;
    const waitedMs = clock.monotonic() - this.#failedAt;
    if (waitedMs < this.#reopenMs) throw toWaitingError(failure);
    const opening = openDatabase<Schema>(this.#options).catch((cause: unknown) => {
      this.#noteFailure(opening);
      throw toOpeningError(failure, cause);
    });
    this.#connection = opening;
    return opening;
  }

  async #drop(connection: Promise<Kysely<Schema>>): Promise<void> {
    this.#noteFailure(connection);
    // Closing a broken file may fail as well; there is nothing left to save then.
    await connection.then((db) => db.destroy()).catch(() => undefined);
  }

  #noteFailure(connection: Promise<Kysely<Schema>>): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#failedAt = this.#options.clock.monotonic();
    this.#reopenMs = Math.min(this.#reopenMs * 2, LAST_REOPEN_MS);
  }
}
