import { openDatabase, type Replacement } from '@rbee/database';
import type Database from 'better-sqlite3';
import type { Kysely } from 'kysely';
import { JOURNAL_MIGRATIONS } from './journal-migrations.js';
import type { EventRow, JournalSchema, TaskRow } from './journal-schema.js';

const INSERT_TASK = `
  insert or replace into tasks (ticket, job_id, run, digest, request, model, priority, client, correlation_id, deadline,
    accepted_at, node, worker_id, prompt_ids, model_digest, tokens_out, resumed, state, ended_at, error, first_event, last_event)
  values (:ticket, :job_id, :run, :digest, :request, :model, :priority, :client, :correlation_id, :deadline,
    :accepted_at, :node, :worker_id, :prompt_ids, :model_digest, :tokens_out, :resumed, :state, :ended_at, :error, :first_event,
    :last_event)`;
const UPDATE_TASK = `
  update tasks set run = :run, deadline = :deadline, node = :node, worker_id = :worker_id, prompt_ids = :prompt_ids,
    model_digest = :model_digest, tokens_out = :tokens_out, resumed = :resumed, state = :state, ended_at = :ended_at,
    error = :error, first_event = :first_event, last_event = :last_event,
    request = case when :ended_at is null then request end
  where ticket = :ticket`;

/**
 * An open journal file. Its statements are run on the connection itself, at once and without a promise: they stand in the way of
 * every token.
 */
export class JournalConnection {
  readonly #db: Kysely<JournalSchema>;
  readonly insertTask: Database.Statement<[TaskRow]>;
  readonly updateTask: Database.Statement<[Omit<TaskRow, 'request'>]>;
  readonly insertEvent: Database.Statement<[ticket: number, run: number, n: number, kind: string, data: string]>;
  readonly deleteEvents: Database.Statement<[ticket: number]>;
  readonly findTask: Database.Statement<[jobId: string], TaskRow>;
  readonly listOpen: Database.Statement<[], TaskRow>;
  readonly listEnded: Database.Statement<[], TaskRow>;
  readonly listEvents: Database.Statement<[ticket: number, first: number, last: number], EventRow>;
  readonly listOpenEvents: Database.Statement<[], EventRow>;
  readonly lastTicket: Database.Statement<[], { last: number }>;
  readonly #begin: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  readonly #listExpired: Database.Statement<[endedBefore: number, most: number], TaskRow>;
  readonly #deleteTask: Database.Statement<[ticket: number]>;
  readonly #deleteRange: Database.Statement<[ticket: number, first: number, last: number]>;

  private constructor(db: Kysely<JournalSchema>, database: Database.Database) {
    this.#db = db;
    this.insertTask = database.prepare(INSERT_TASK);
    this.updateTask = database.prepare(UPDATE_TASK);
    this.insertEvent = database.prepare('insert into events (ticket, run, n, kind, data) values (?, ?, ?, ?, ?)');
    this.deleteEvents = database.prepare('delete from events where ticket = ?');
    this.findTask = database.prepare('select * from tasks where job_id = ?');
    this.listOpen = database.prepare('select * from tasks where ended_at is null order by ticket');
    this.listEnded = database.prepare('select * from tasks where ended_at is not null order by ticket');
    this.listEvents = database.prepare('select * from events where ticket = ? and id between ? and ? order by id');
    this.listOpenEvents = database.prepare(
      'select * from events where ticket in (select ticket from tasks where ended_at is null) order by id',
    );
    this.lastTicket = database.prepare('select coalesce(max(ticket), 0) as last from tasks');
    this.#begin = database.prepare('begin immediate');
    this.#commit = database.prepare('commit');
    this.#rollback = database.prepare('rollback');
    this.#listExpired = database.prepare(`
      select * from tasks where ended_at is not null and (ended_at < ? or ticket in (
        select ticket from tasks where ended_at is not null order by ended_at desc, ticket desc limit -1 offset ?))`);
    this.#deleteTask = database.prepare('delete from tasks where ticket = ?');
    this.#deleteRange = database.prepare('delete from events where ticket = ? and id between ? and ?');
    // A task whose id was used again, while the journal could not be written, has left its events behind.
    database.prepare('delete from events where ticket not in (select ticket from tasks)').run();
  }

  /** Opens the file, for this process alone. Throws what SQLite or the file system throws. */
  static async open(file: string, onReplaced: (replacement: Replacement) => void): Promise<JournalConnection> {
    let database: Database.Database | undefined;
    const db = await openDatabase<JournalSchema>({
      file,
      migrations: JOURNAL_MIGRATIONS,
      replaceDamaged: true,
      // A second queen of the same user works without the journal; it must not stand still for it.
      busyTimeoutMs: 0,
      connect: (connection) => {
        database = connection;
        // Two queens must not write one journal. It also saves the locks around each transaction.
        connection.pragma('locking_mode = EXCLUSIVE');
        // The journal is for processes that are killed: what is written survives that. When the power fails, the last of it may be
        // lost, or the file be damaged and replaced; the registry of nodes, which must never be, is another file.
        connection.pragma('synchronous = OFF');
        // What was asked and answered does not stay in the file when it is deleted.
        connection.pragma('secure_delete = ON');
      },
      prepare: async (_db, { replaced }) => {
        if (replaced) onReplaced(replaced);
      },
    });
    try {
      return new JournalConnection(db, database as unknown as Database.Database);
    } catch (error) {
      await db.destroy();
      throw error;
    }
  }

  /** Runs writes as one transaction: all of them count, or none does and their error is thrown. */
  transact(write: () => void): void {
    this.#begin.run();
    try {
      write();
      this.#commit.run();
    } catch (error) {
      try {
        this.#rollback.run();
      } catch {
        // SQLite has rolled back by itself; the first error says why.
      }
      throw error;
    }
  }

  /** Forgets tasks wherever their events lie. */
  deleteTasks(tickets: readonly number[]): void {
    for (const ticket of tickets) {
      this.#deleteTask.run(ticket);
      this.deleteEvents.run(ticket);
    }
  }

  /** Deletes the tasks that ended before then, and of the others all but so many that ended last. */
  deleteExpired(endedBefore: number, most: number): number {
    const expired = this.#listExpired.all(endedBefore, most);
    if (expired.length === 0) return 0;
    this.transact(() => {
      for (const { ticket, first_event, last_event } of expired) {
        this.#deleteTask.run(ticket);
        if (first_event !== null && last_event !== null) this.#deleteRange.run(ticket, first_event, last_event);
      }
    });
    return expired.length;
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }
}
