import type { Clock, Logger } from '@rbee/daemon-kit';
import type { JournalConnection } from './journal-connection.js';
import type { EventRow, TaskRow } from './journal-schema.js';

/** How long a journal that failed is left alone: at first, and twice as long each time that it fails again, up to a limit. */
const FIRST_REOPEN_MS = 5_000;
const LAST_REOPEN_MS = 60_000;
/** Ended tasks that are kept at most. */
const MOST_ENDED = 1_000;

/** One event of a task, as it is sent and kept. */
export interface JournalEvent {
  readonly run: number;
  readonly n: number;
  readonly kind: string;
  readonly data: string;
}

/** What of a task the journal looks at when it is told that something has come. */
export interface Journaled {
  readonly ticket: number;
  /** All but where its events lie, which the journal itself knows. */
  toRow(): Omit<TaskRow, 'first_event' | 'last_event'>;
  /** Rises whenever the row has changed. */
  readonly version: number;
  /** Events that have come since the last write. */
  readonly unwritten: readonly JournalEvent[];
  /** All events that are kept, those that were not written yet included. */
  written(): Iterable<JournalEvent>;
}

export interface TaskJournalOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What has been written of a task, and into which opening of the file. */
interface Bookmark {
  readonly opening: number;
  readonly version: number;
  /** Whether the row says that it has ended. */
  readonly over: boolean;
  readonly first: number | null;
  readonly last: number | null;
}

/**
 * The tasks of this queen on disk, so that another one can go on with them. Writing never fails for its caller: a journal that
 * cannot be written is left alone for a while, with one warning, and then gets everything that it has missed.
 */
export class TaskJournal {
  readonly #options: TaskJournalOptions;
  readonly #bookmarks = new WeakMap<Journaled, Bookmark>();
  #connection: JournalConnection | undefined;
  #openings = 0;
  /** Whether it has failed and nothing could be written since. */
  #failed = false;
  #reopenMs = FIRST_REOPEN_MS;
  #closed = false;
  #cancelReopening: (() => void) | undefined;
  /** Tasks whose row in the file says that they have not ended. */
  readonly #openTickets = new Set<number>();
  /** Told when the file can be written again; returns the tasks that have not ended, and sees to it that they are written. */
  onReopened: () => readonly Journaled[] = () => [];

  private constructor(options: TaskJournalOptions) {
    this.#options = options;
  }

  static async open(options: TaskJournalOptions): Promise<TaskJournal> {
    const journal = new TaskJournal(options);
    await journal.#open();
    return journal;
  }

  /** Whether what is written is kept. */
  get works(): boolean {
    return this.#connection !== undefined;
  }

  /** Writes what has come of these tasks, as one transaction. */
  write(tasks: readonly Journaled[]): void {
    const connection = this.#connection;
    if (!connection) return;
    const bookmarks: [Journaled, Bookmark][] = [];
    const writeAll = () => {
      for (const task of tasks) bookmarks.push([task, this.#writeTask(connection, task)]);
    };
    const [first, ...others] = tasks;
    // The usual case: a token of the only task that runs. A statement by itself is a transaction, and the cheapest one.
    const isOneStatement = first !== undefined && others.length === 0 && this.#isOneEvent(first);
    this.#attempt(() => (isOneStatement ? writeAll() : connection.transact(writeAll)));
    if (this.#connection !== connection) return;
    for (const [task, bookmark] of bookmarks) {
      this.#bookmarks.set(task, bookmark);
      if (bookmark.over) this.#openTickets.delete(task.ticket);
      else this.#openTickets.add(task.ticket);
    }
    if (this.#failed && bookmarks.length > 0) this.#noteSuccess();
  }

  /** Whether everything of a task that may be lost with this process is on disk. */
  keeps(task: Journaled): boolean {
    return this.works && this.#bookmarks.get(task)?.opening === this.#openings && task.unwritten.length === 0;
  }

  /** Tasks that had not ended, in the order in which they came, with their events. */
  readOpen(): { readonly row: TaskRow; readonly events: readonly JournalEvent[] }[] {
    return (
      this.#read((connection) => {
        const events = new Map<number, EventRow[]>();
        for (const event of connection.listOpenEvents.iterate()) {
          const known = events.get(event.ticket);
          if (known) known.push(event);
          else events.set(event.ticket, [event]);
        }
        return connection.listOpen.all().map((row) => ({ row, events: events.get(row.ticket) ?? [] }));
      }) ?? []
    );
  }

  /**
   * Takes a task that was read from the file for one that is written: what follows is added to it. Throws nothing; a journal that
   * has failed meanwhile writes it anew.
   */
  adopt(task: Journaled, row: TaskRow, events: readonly JournalEvent[]): void {
    const rows = events as readonly EventRow[];
    const place = { first: rows[0]?.id ?? null, last: rows.at(-1)?.id ?? null };
    this.#bookmarks.set(task, { opening: this.#openings, version: -1, over: false, ...place });
    this.#openTickets.add(row.ticket);
  }

  /** A task that has ended, while it is kept. */
  findEnded(jobId: string): TaskRow | undefined {
    const row = this.#read((connection) => connection.findTask.get(jobId));
    return row && row.ended_at !== null ? row : undefined;
  }

  listEnded(): TaskRow[] {
    return this.#read((connection) => connection.listEnded.all()) ?? [];
  }

  /** Events of an ended task. */
  readEvents({ ticket, first_event, last_event }: TaskRow): JournalEvent[] {
    if (first_event === null || last_event === null) return [];
    return this.#read((connection) => connection.listEvents.all(ticket, first_event, last_event)) ?? [];
  }

  lastTicket(): number {
    return this.#read((connection) => connection.lastTicket.get()?.last) ?? 0;
  }

  /** Forgets a task that nobody can go on with. */
  drop(ticket: number): void {
    this.#read((connection) => connection.transact(() => connection.deleteTasks([ticket])));
  }

  /** Deletes the tasks that ended before then, and the oldest of too many. */
  deleteExpired(endedBefore: number): void {
    this.#read((connection) => connection.deleteExpired(endedBefore, MOST_ENDED));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelReopening?.();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }

  /** Whether all there is to write of a task is one event. */
  #isOneEvent(task: Journaled): boolean {
    const known = this.#bookmarks.get(task);
    return known?.opening === this.#openings && known.version === task.version && task.unwritten.length === 1;
  }

  #writeTask(connection: JournalConnection, task: Journaled): Bookmark {
    const { ticket, version } = task;
    const opening = this.#openings;
    const known = this.#bookmarks.get(task);
    if (known?.opening === opening) {
      const [first, last] = insertAll(connection, ticket, task.unwritten);
      const place = { first: known.first ?? first, last: last ?? known.last };
      if (known.version !== version) {
        const { request: _request, ...row } = task.toRow();
        connection.updateTask.run({ ...row, first_event: place.first, last_event: place.last });
        return { opening, version, over: row.ended_at !== null, ...place };
      }
      return { opening, version, over: known.over, ...place };
    }
    // Only what the file knows from before it failed: to look for the events of a task takes as long as there are events of any.
    if (this.#openTickets.has(ticket)) connection.deleteEvents.run(ticket);
    const [first, last] = insertAll(connection, ticket, task.written());
    // Its row comes last, because only now it is known where its events lie.
    const row = task.toRow();
    connection.insertTask.run({ ...row, first_event: first, last_event: last });
    return { opening, version, over: row.ended_at !== null, first, last };
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #read<T>(query: (connection: JournalConnection) => T): T | undefined {
    const connection = this.#connection;
    let result: T | undefined;
    if (connection)
      this.#attempt(() => {
        result = query(connection);
      });
    return result;
  }

  async #open(): Promise<void> {
    const { file, log } = this.#options;
    try {
      // What belongs to SQLite is not loaded by a queen that is only asked for its version, or copies a model.
      const { JournalConnection } = await import('./journal-connection.js');
      const connection = await JournalConnection.open(file, ({ cause, backup, inMemoryBecause }) =>
        log.warn(
          { cause, backup, in_memory_because: inMemoryBecause },
          'the journal of tasks was damaged: a new one takes its place, and tasks of before are lost',
        ),
      );
      if (this.#closed) return await connection.close();
      this.#connection = connection;
      this.#openings++;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Goes on without the file for a while. */
  #fail(error: unknown): void {
    const { clock, log } = this.#options;
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close().catch((error: unknown) => log.debug({ error }, 'a journal that failed could not be closed'));
    if (this.#closed) return;
    if (!this.#failed) {
      const { code, message } = error as NodeJS.ErrnoException;
      const cause = code ?? message;
      const why = code === 'SQLITE_BUSY' ? 'another queen uses it' : cause;
      log.warn(
        { cause },
        `the journal of tasks can't be used (${why}): tasks work without it, but do not outlive this queen`,
      );
    }
    this.#failed = true;
    this.#cancelReopening?.();
    this.#cancelReopening = clock.after(this.#reopenMs, () => void this.#reopen());
    this.#reopenMs = Math.min(this.#reopenMs * 2, LAST_REOPEN_MS);
  }

  #noteSuccess(): void {
    this.#failed = false;
    this.#reopenMs = FIRST_REOPEN_MS;
    this.#options.log.info({}, 'the journal of tasks can be used again');
  }

  async #reopen(): Promise<void> {
    await this.#open();
    if (!this.works) return;
    const tickets = new Set(this.onReopened().map(({ ticket }) => ticket));
    // What has ended meanwhile must not be gone on with.
    const over = [...this.#openTickets].filter((ticket) => !tickets.has(ticket));
    this.#read((connection) => connection.transact(() => connection.deleteTasks(over)));
    if (this.works) for (const ticket of over) this.#openTickets.delete(ticket);
  }
}

/** Inserts events and says between which rows they lie. */
function insertAll(
  connection: JournalConnection,
  ticket: number,
  events: Iterable<JournalEvent>,
): [first: number | null, last: number | null] {
  let first: number | null = null;
  let last: number | null = null;
  for (const { run, n, kind, data } of events) {
    last = Number(connection.insertEvent.run(ticket, run, n, kind, data).lastInsertRowid);
    first ??= last;
  }
  return [first, last];
}
