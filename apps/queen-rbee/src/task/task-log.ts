import {
  encodeSse,
  errorEventSchema,
  fromErrorEvent,
  RbeeError,
  type SseMessage,
  type TaskEvent,
  toErrorEvent,
} from '@rbee/protocol';
import type { JournalEvent } from '../journal/task-journal.js';
import { type EventPlace, isBehind, toEventId } from './event-id.js';
import type { MessageKind, TaskOutput } from './task-output.js';

/**
 * How far a reader may be behind before the worker is stopped: what a generation makes in a second or so, and small enough for
 * hundreds of readers that have gone to sleep.
 */
const MOST_BEHIND = { events: 64, chars: 256 * 1024 };
/** Characters that are given to a reader at once. Before it has taken them it gets no more, so they also bound what waits for its connection. */
const MOST_AT_ONCE = 64 * 1024;
/** What is kept besides the answer for those who come later; more than any start has. */
const MOST_KEPT_ASIDE = { events: 1_000, chars: 4 * 1024 * 1024 };

/** Clients that may read one task at the same time; each may be behind by as much as `MOST_BEHIND`. */
const MOST_READERS = 64;

/** What outlives the queen; everything else is told only to who listens. */
const JOURNALED: ReadonlySet<string> = new Set(['accepted', 'started', 'token', 'end', 'error']);

interface LogEntry extends JournalEvent {
  /** Characters of all events before this one. */
  readonly offset: number;
}

/** Somebody who reads a log, each at an own pace. */
export interface LogReader {
  /** Number of the first entry that it has not read. */
  cursor: number;
  /** Whether the task waits for it when it is far behind. */
  readonly holdsBack: boolean;
  /** There may be more to read. */
  wake(): void;
}

export interface TaskLogOptions {
  /** Which queen of those that had the task this one is, from 1. */
  readonly run: number;
  /** Told of everything that is said of the task, also of what is not passed on. */
  readonly onTold?: (event: TaskEvent) => void;
  /** Told when something waits to be committed. */
  readonly onEntry?: () => void;
  /** Told how many read, whenever that has changed. */
  readonly onReaders?: (count: number) => void;
  /** Told once, when readers may see the terminal event. */
  readonly onComplete?: () => void;
  /** Events that earlier queens have told. */
  readonly earlier?: readonly JournalEvent[];
}

/**
 * All events of one task in their order, from `accepted` to its one terminal event. Readers see an event once it was committed,
 * which is after it was written to the journal. A task that was placed anew goes on where its readers believe it to be: a second `accepted` or `started` is dropped.
 */
export class TaskLog implements TaskOutput {
  readonly #options: TaskLogOptions;
  readonly #readers = new Set<LogReader>();
  readonly #waiting = new Set<() => void>();
  #entries: LogEntry[] = [];
  #unwritten: LogEntry[] = [];
  /** Entries that readers may see. */
  #committed = 0;
  #keptAside = 0;
  #charsAside = 0;
  #chars = 0;
  #n = 0;
  #started = false;
  #accepted = false;
  #ended = false;
  #suspended = false;
  #failure: RbeeError | undefined;

  constructor(options: TaskLogOptions) {
    this.#options = options;
    for (const event of options.earlier ?? []) {
      this.#push(event);
      if (event.kind === 'started' || event.kind === 'token' || event.kind === 'end') this.#accepted = true;
      if (event.kind === 'started' || event.kind === 'token') this.#started = true;
      if (event.kind === 'end' || event.kind === 'error') this.#ended = true;
      if (event.kind === 'error') this.#failure = readFailure(event.data);
    }
    this.#committed = this.#entries.length;
  }

  /** Whether a worker has accepted the job. */
  get accepted(): boolean {
    return this.#accepted;
  }

  /** Whether the task was told to be accepted. */
  get hasAccepted(): boolean {
    return this.#entries[0]?.kind === 'accepted';
  }

  /** Whether the worker has begun to answer. */
  get started(): boolean {
    return this.#started;
  }

  /** Whether the terminal event has come; readers may not have seen it yet. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether readers may see everything up to the terminal event. */
  get complete(): boolean {
    return this.#ended && this.#committed === this.#entries.length;
  }

  /** Whether the task goes on with another queen: nothing more comes here. */
  get suspended(): boolean {
    return this.#suspended;
  }

  /** What the task failed with. */
  get failure(): RbeeError | undefined {
    return this.#failure;
  }

  /** Number of those who read. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Name of the first event that readers may see. */
  get firstKind(): string | undefined {
    return this.#committed === 0 ? undefined : this.#entries[0]?.kind;
  }

  /** Events that the journal keeps and that are not committed. */
  get unwritten(): readonly JournalEvent[] {
    return this.#unwritten;
  }

  /** Events that the journal keeps. */
  written(): JournalEvent[] {
    return this.#entries.filter(({ kind }) => JOURNALED.has(kind));
  }

  tell(event: TaskEvent): void {
    this.#options.onTold?.(event);
    if (this.#ended || this.#suspended) return;
    if (event.type === 'accepted' ? this.#entries.length > 0 : this.#started && event.type !== 'narration') return;
    const data = JSON.stringify(event);
    if (event.type === 'progress' && this.#entries.at(-1)?.kind === 'progress') this.#replaceLast(data);
    else this.#append(event.type, data);
  }

  accept(): void {
    this.#accepted = true;
    this.#options.onEntry?.();
  }

  relay({ data }: SseMessage, kind: MessageKind, signal: AbortSignal): Promise<void> | undefined {
    if (kind === 'started') {
      if (this.#started) return undefined;
      this.#started = true;
    }
    this.#append(kind, data);
    if (kind === 'error') this.#failure ??= readFailure(data);
    return this.#isBehind(1) ? this.#caughtUp(signal) : undefined;
  }

  /** Ends the log with an error, unless it has ended. */
  fail(error: RbeeError, correlationId: string): void {
    if (this.#ended || this.#suspended) return;
    this.#failure = error;
    // The error may have come up for another task that shared the work.
    this.#append('error', JSON.stringify({ ...toErrorEvent(error), correlation_id: correlationId }));
  }

  /** Takes nothing more and lets go of the readers, because the task goes on with another queen. */
  suspend(): void {
    this.#suspended = true;
    for (const reader of [...this.#readers]) reader.wake();
  }

  /** Lets readers see what has come. The owner calls it when the journal has it. */
  commit(): void {
    const wasComplete = this.complete;
    this.#committed = this.#entries.length;
    if (this.#unwritten.length > 0) this.#unwritten = [];
    for (const reader of [...this.#readers]) reader.wake();
    if (this.complete && !wasComplete) this.#options.onComplete?.();
  }

  /**
   * Lets a reader in: at the beginning, or behind the event of which it knows already. Throws TOO_MANY_REQUESTS while there are as
   * many as may be.
   */
  attach(reader: LogReader, after: EventPlace | undefined): void {
    if (this.#readers.size >= MOST_READERS) throw tooManyReaders();
    const first = after ? this.#entries.findIndex((entry) => isBehind(entry, after)) : 0;
    const from = first < 0 ? this.#entries.length : first;
    // What has ended tells its end to everybody, also to one who claims to know it.
    reader.cursor = this.#ended ? Math.min(from, this.#entries.length - 1) : from;
    this.#readers.add(reader);
    this.#options.onReaders?.(this.#readers.size);
  }

  detach(reader: LogReader): void {
    if (!this.#readers.delete(reader)) return;
    this.#letGo();
    this.#options.onReaders?.(this.#readers.size);
  }

  /** The frames that a reader gets next, which moves it behind them; empty when it has read all that it may see. */
  read(reader: LogReader): { readonly frames: string; readonly terminal: boolean } {
    let frames = '';
    let { cursor } = reader;
    while (cursor < this.#committed && frames.length < MOST_AT_ONCE) {
      const entry = this.#entries[cursor++] as LogEntry;
      frames += encodeSse({ id: toEventId(entry), event: entry.kind, data: entry.data });
    }
    if (cursor === reader.cursor) return { frames, terminal: false };
    reader.cursor = cursor;
    this.#letGo();
    return { frames, terminal: this.#ended && cursor === this.#entries.length };
  }

  /** The events of the answer, as they may be seen now. */
  answer(): readonly JournalEvent[] {
    return this.#entries.slice(0, this.#committed).filter(({ kind }) => JOURNALED.has(kind));
  }

  #append(kind: string, data: string): void {
    if (this.#ended || this.#suspended) return;
    const event = { run: this.#options.run, n: ++this.#n, kind, data };
    if (JOURNALED.has(kind)) {
      this.#unwritten.push(this.#push(event));
      if (kind === 'end' || kind === 'error') this.#ended = true;
    } else {
      this.#keptAside++;
      this.#charsAside += data.length;
      this.#push(event);
      const { events, chars } = MOST_KEPT_ASIDE;
      if (this.#keptAside > events || this.#charsAside > chars) this.#forgetOldest();
    }
    this.#options.onEntry?.();
  }

  #push(event: JournalEvent): LogEntry {
    const { run, n, kind, data } = event;
    const entry = { run, n, kind, data, offset: this.#chars };
    this.#chars += data.length;
    this.#entries.push(entry);
    return entry;
  }

  /** A figure that has changed takes the place of the one before, also where that was read already. */
  #replaceLast(data: string): void {
    const last = this.#entries.pop() as LogEntry;
    this.#chars = last.offset;
    this.#keptAside--;
    this.#charsAside -= last.data.length;
    this.#committed = Math.min(this.#committed, this.#entries.length);
    for (const reader of this.#readers) reader.cursor = Math.min(reader.cursor, this.#entries.length);
    this.#append(last.kind, data);
  }

  /** Makes room for what is told aside: half of it goes, the oldest first, but never the newest. Who has not read it yet misses it. */
  #forgetOldest(): void {
    const { events, chars } = MOST_KEPT_ASIDE;
    const gone = this.#entries.map(({ kind, data }, index) => {
      const isTooMuch = this.#keptAside > events / 2 || this.#charsAside > chars / 2;
      if (JOURNALED.has(kind) || !isTooMuch || index === this.#entries.length - 1) return false;
      this.#keptAside--;
      this.#charsAside -= data.length;
      return true;
    });
    const goneBefore = (index: number) => gone.slice(0, index).filter(Boolean).length;
    for (const reader of this.#readers) reader.cursor -= goneBefore(reader.cursor);
    this.#committed -= goneBefore(this.#committed);
    this.#entries = this.#entries.filter((_entry, index) => !gone[index]);
  }

  /** Whether somebody for whom the task waits is behind by more than this part of what is allowed. */
  #isBehind(part: number): boolean {
    const { length } = this.#entries;
    for (const { cursor, holdsBack } of this.#readers) {
      if (!holdsBack || cursor >= length) continue;
      const chars = this.#chars - (this.#entries[cursor] as LogEntry).offset;
      if (length - cursor > MOST_BEHIND.events * part || chars > MOST_BEHIND.chars * part) return true;
    }
    return false;
  }

  #caughtUp(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiting.delete(settle);
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason);
        else resolve();
      };
      if (signal.aborted) return settle();
      this.#waiting.add(settle);
      signal.addEventListener('abort', settle, { once: true });
    });
  }

  #letGo(): void {
    if (this.#waiting.size > 0 && !this.#isBehind(0.5)) for (const settle of [...this.#waiting]) settle();
  }
}

function tooManyReaders(): RbeeError {
  return new RbeeError('TOO_MANY_REQUESTS', `${MOST_READERS} clients read this task already, which is the limit`, {
    details: { limit: MOST_READERS },
    suggestion: 'end one of them, or read the task when it has ended',
  });
}

function readFailure(data: string): RbeeError | undefined {
  const event = errorEventSchema.safeParse(parseJson(data)).data;
  return event && fromErrorEvent(event);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not an error that can be read; whoever asks for it says so.
    return undefined;
  }
}
