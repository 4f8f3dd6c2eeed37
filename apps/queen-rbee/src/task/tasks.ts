import { createHash, randomInt, randomUUID } from 'node:crypto';
import {
  type Clock,
  everyLive,
  type Logger,
  logFailure,
  orAborted,
  type Repeating,
  type Timeouts,
} from '@rbee/daemon-kit';
import {
  RbeeError,
  resumeSchema,
  type TaskDetail,
  type TaskRequest,
  type TaskState,
  type TaskSummary,
  taskRequestSchema,
  toRbeeError,
} from '@rbee/protocol';
import type { TaskRow } from '../journal/journal-schema.js';
import type { JournalEvent, TaskJournal } from '../journal/task-journal.js';
import type { Nodes } from '../node/nodes.js';
import { textOf } from './collect-answer.js';
import { Commits } from './commits.js';
import { OwnedTask, summarize } from './owned-task.js';
import { shuttingDown } from './shutting-down.js';
import { Task } from './task.js';
import { TaskLog } from './task-log.js';
import type { TaskRunner } from './task-runner.js';

const promptIdsSchema = resumeSchema.shape.prompt_ids;

/** How often it is looked for ended tasks that need not be kept any longer. */
const CLEANING_MS = 60_000;

export interface TasksOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Pick<Timeouts, 'client_returns' | 'task_kept'>;
  readonly nodes: Pick<Nodes, 'look' | 'all'>;
  readonly runner: Pick<TaskRunner, 'admit' | 'run'>;
  readonly journal: TaskJournal;
  /** Told whenever the last task has ended. */
  readonly onIdle: () => void;
}

/** Where a task comes from. */
export interface Origin {
  readonly correlationId: string;
  /** Address of the client. */
  readonly client: string;
  /** When it must have ended, milliseconds since the epoch. */
  readonly deadline: number | undefined;
}

/** A task to read. */
export interface FoundTask {
  readonly id: string;
  readonly log: TaskLog;
}

/**
 * The tasks of this queen: they run whoever listens, and outlive the queen in the journal.
 *
 *     (submitted) ──admitted──> running ──terminal event committed──> ended ──task_kept──> forgotten
 *          │ refused              ▲  │ last client gone, cancelled, deadline: runs to its end at once
 *          ▼                      │  ▼ queen gone, or stopped while the task is to be kept
 *        gone                    in the journal only
 */
export class Tasks {
  readonly #options: TasksOptions;
  readonly #commits: Commits;
  readonly #owned = new Map<string, OwnedTask>();
  readonly #recovered: OwnedTask[] = [];
  /** Logs of ended tasks, as long as somebody reads them. */
  readonly #read = new Map<string, TaskLog>();
  readonly #cleaning: Repeating;
  #tickets: number;
  #closed = false;

  constructor(options: TasksOptions) {
    const { clock, journal, timeouts } = options;
    this.#options = options;
    this.#commits = new Commits(journal);
    // Of two queens that come to use one file, one after the other, neither takes tickets of the other's.
    this.#tickets = Math.max(journal.lastTicket(), clock.now() * 1_000);
    journal.onReopened = () => {
      const running = this.#running();
      for (const owned of running) this.#commits.add(owned);
      return running;
    };
    this.#clean();
    this.#cleaning = everyLive(
      clock,
      () => Math.min(CLEANING_MS, timeouts.task_kept),
      () => this.#clean(),
    );
  }

  /** Goes by the time limits that count now. */
  rearm(): void {
    this.#cleaning.rearm();
  }

  /** Tasks that have not ended, or whose end has not been committed. */
  get size(): number {
    return this.#owned.size;
  }

  /**
   * Takes a task, or finds the one that has its id and its body. Throws JOB_ALREADY_RUNNING when another task has the id,
   * CONNECTION_TIMEOUT (503) once the queen is shutting down.
   */
  submit(body: TaskRequest, origin: Origin): FoundTask & { readonly isNew: boolean } {
    const { job_id, ...asked } = body;
    const digest = createHash('sha256').update(JSON.stringify(asked)).digest('hex');
    const known = job_id === undefined ? undefined : this.#findDigest(job_id);
    if (job_id !== undefined && known !== undefined) {
      if (known !== digest) throw toTakenError(job_id);
      const found = this.#find(job_id);
      if (found) return { ...found, isNew: false };
    }
    if (this.#closed) throw shuttingDown();
    const { clock, log } = this.#options;
    const id = job_id ?? `job-${randomUUID()}`;
    const ticket = ++this.#tickets;
    // Known from the start, so that a queen or a worker that takes over goes on with the same random numbers.
    const request = { ...body, job_id: id, seed: body.seed ?? randomInt(2 ** 32) };
    const owned = this.#own(new Task({ id, ticket, request, ...origin, clock, log }), digest);
    void this.#run(owned, () => this.#options.runner.admit(owned.task));
    return { id, log: owned.log, isNew: true };
  }

  /** Throws NOT_FOUND for a task that nobody knows, or that was forgotten. */
  open(id: string): FoundTask {
    const found = this.#find(id);
    if (!found) throw toUnknownError(id);
    return found;
  }

  /** Running tasks and those that have ended lately, in the order in which they came. */
  list(state?: TaskState): TaskSummary[] {
    const running = [...this.#owned.values()].filter(({ accepted }) => accepted);
    const ended = this.#options.journal.listEnded().filter(({ job_id }) => !this.#owned.has(job_id));
    const all = [
      ...ended.map((row) => ({ ticket: row.ticket, summary: summarize(row) })),
      ...running.map((owned) => ({ ticket: owned.ticket, summary: owned.toSummary() })),
    ];
    all.sort((one, other) => one.ticket - other.ticket);
    return all.map(({ summary }) => summary).filter((each) => state === undefined || each.state === state);
  }

  /** Throws NOT_FOUND. */
  show(id: string): TaskDetail {
    const owned = this.#owned.get(id);
    if (owned?.accepted) return { ...owned.toSummary(), text: textOf(owned.log.answer()) };
    const row = this.#options.journal.findEnded(id);
    if (!row) throw toUnknownError(id);
    return { ...summarize(row), text: textOf(this.#options.journal.readEvents(row)) };
  }

  /** Cancels a task and waits until it has ended; an unknown id is none that runs. */
  async cancel(id: string): Promise<void> {
    const task = this.#owned.get(id)?.task;
    task?.cancel(new RbeeError('CANCELLED', `the task ${id} was cancelled on request`, { details: { job_id: id } }));
    await task?.ended;
  }

  /** Takes over the tasks that another queen has left in the journal. They run once `begin` is called. */
  recover(): void {
    const { journal, log } = this.#options;
    for (const { row, events } of journal.readOpen()) {
      const owned = this.#takeOver(row, events);
      if (owned) this.#recovered.push(owned);
    }
    if (this.#recovered.length > 0)
      log.info({ tasks: this.#recovered.length }, 'going on with tasks of an earlier queen');
  }

  /** Lets the tasks run that were taken over. */
  begin(): void {
    const { clock, timeouts, nodes } = this.#options;
    if (this.#recovered.length === 0) return;
    const met = nodes.look(nodes.all());
    for (const owned of this.#recovered.splice(0)) {
      const { task, log } = owned;
      if (!task.kept) {
        const cancel = clock.after(timeouts.client_returns, () => {
          if (log.readers === 0) task.cancel(toAbandonedError());
        });
        void task.ended.then(cancel);
      }
      this.#commits.add(owned);
      // It was admitted once; its workers are seen only when their hives are met.
      void this.#run(owned, () => orAborted(met, task.signal));
    }
  }

  /**
   * Takes no further task and ends those that run: tasks that are to be kept stay in the journal for another queen, all others are
   * cancelled. Waits until all have ended.
   */
  async close(): Promise<void> {
    const { journal } = this.#options;
    this.#closed = true;
    this.#cleaning.stop();
    this.#commits.flush();
    for (const { task } of this.#recovered.splice(0)) {
      task.end();
      this.#owned.delete(task.id);
    }
    for (const owned of this.#running()) {
      if (owned.task.kept && owned.accepted && journal.keeps(owned)) owned.log.suspend();
      owned.task.cancel(
        new RbeeError('CANCELLED', 'the queen is shutting down: the task was cancelled', {
          suggestion: 'repeat the command: it finds or starts another queen',
        }),
      );
    }
    await Promise.all([...this.#owned.values()].map(({ task }) => task.ended));
    this.#commits.flush();
  }

  #running(): OwnedTask[] {
    return [...this.#owned.values()].filter(({ log }) => !log.ended);
  }

  #own(task: Task, digest: string, earlier: readonly JournalEvent[] = []): OwnedTask {
    const log: TaskLog = new TaskLog({
      run: task.run,
      earlier,
      onTold: (event) => task.note(event),
      onEntry: () => this.#commits.add(owned),
      onReaders: (count) => {
        if (count === 0) this.#noteUnread(owned);
      },
      onComplete: () => this.#forgetIfOver(owned),
    });
    const owned = new OwnedTask(this.#options.clock, task, log, digest);
    this.#owned.set(task.id, owned);
    return owned;
  }

  /** The last client has gone. */
  #noteUnread(owned: OwnedTask): void {
    const { task, log } = owned;
    if (log.ended || (task.kept && owned.accepted)) return;
    task.cancel(
      new RbeeError('CANCELLED', 'the client closed the connection', {
        details: { reason: 'client_gone' },
        correlationId: task.correlationId,
      }),
    );
  }

  /** Whoever asks for it from now on finds it in the journal. */
  #forgetIfOver(owned: OwnedTask): void {
    if (!owned.over || this.#owned.get(owned.task.id) !== owned) return;
    this.#owned.delete(owned.task.id);
    if (this.#owned.size === 0) this.#options.onIdle();
  }

  /** Brings a task to its end, whatever happens. One that is cancelled is told so at once; what it holds is given back after that. */
  async #run(owned: OwnedTask, admit: () => Promise<unknown>): Promise<void> {
    const { task, log } = owned;
    const { signal } = task;
    const tellReason = () => this.#fail(owned, signal.reason);
    signal.addEventListener('abort', tellReason, { once: true });
    try {
      await admit();
      signal.throwIfAborted();
      await this.#options.runner.run(task, log);
      if (!log.ended) throw new Error('the task came to no end');
    } catch (caught) {
      this.#fail(owned, caught);
    } finally {
      signal.removeEventListener('abort', tellReason);
      task.end();
      this.#forgetIfOver(owned);
    }
  }

  #fail({ task, log }: OwnedTask, caught: unknown): void {
    if (log.ended || log.suspended) return;
    const error = toTaskError(caught, task.signal);
    logFailure(error, task.log, '/v2/tasks');
    log.fail(error, task.correlationId);
  }

  #takeOver(row: TaskRow, events: readonly JournalEvent[]): OwnedTask | undefined {
    const { clock, log, journal } = this.#options;
    const { job_id: id, ticket, correlation_id: correlationId, client } = row;
    const request = taskRequestSchema.safeParse(parseJson(row.request)).data;
    const promptIds = row.prompt_ids === null ? undefined : promptIdsSchema.safeParse(parseJson(row.prompt_ids)).data;
    if (!request) {
      log.warn({ job_id: id }, 'a task of an earlier queen cannot be read, and is given up');
      journal.drop(ticket);
      return undefined;
    }
    const task = new Task({
      ...{ id, ticket, request, correlationId, client, clock, log },
      deadline: row.deadline ?? undefined,
      acceptedAt: row.accepted_at,
      run: row.run + 1,
    });
    const { delivered } = task;
    delivered.promptIds = promptIds;
    delivered.modelDigest = row.model_digest ?? undefined;
    for (const { kind, data } of events) if (kind === 'token') delivered.note(data);
    if (row.node !== null && row.worker_id !== null) task.assigned = { node: row.node, workerId: row.worker_id };
    task.resumed = row.resumed;
    const owned = this.#own(task, row.digest, events);
    journal.adopt(owned, row, events);
    return owned;
  }

  #findDigest(id: string): string | undefined {
    return this.#owned.get(id)?.digest ?? this.#options.journal.findEnded(id)?.digest;
  }

  #find(id: string): FoundTask | undefined {
    const log = this.#owned.get(id)?.log ?? this.#read.get(id) ?? this.#readEnded(id);
    return log && { id, log };
  }

  /** The log of an ended task from the journal; all who read it at the same time share it. */
  #readEnded(id: string): TaskLog | undefined {
    const { journal } = this.#options;
    const row = journal.findEnded(id);
    const earlier = row ? journal.readEvents(row) : [];
    if (!row || earlier.length === 0) return undefined;
    const log: TaskLog = new TaskLog({
      run: row.run,
      earlier,
      onReaders: (count) => {
        if (count > 0) this.#read.set(id, log);
        else if (this.#read.get(id) === log) this.#read.delete(id);
      },
    });
    return log;
  }

  #clean(): void {
    const { clock, journal, timeouts } = this.#options;
    journal.deleteExpired(clock.now() - timeouts.task_kept);
  }
}

/** What is no JSON is nothing that can be gone on with. */
function parseJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    // Refused by whoever reads it.
    return undefined;
  }
}

/** What a task failed with; the platform's own AbortError says only that it was aborted, its signal knows why. */
function toTaskError(caught: unknown, signal: AbortSignal): RbeeError {
  const aborted = signal.aborted && (caught as Error | undefined)?.name === 'AbortError';
  return toRbeeError(aborted ? signal.reason : caught);
}

function toTakenError(id: string): RbeeError {
  return new RbeeError('JOB_ALREADY_RUNNING', `another task has the id ${id}`, {
    details: { job_id: id },
    suggestion: 'choose another job_id, or none',
  });
}

function toUnknownError(id: string): RbeeError {
  return new RbeeError('NOT_FOUND', `there is no task ${id}; tasks that have ended are kept for a while only`, {
    details: { job_id: id },
    suggestion: 'see which tasks there are: rbee-keeper tasks list',
  });
}

function toAbandonedError(): RbeeError {
  return new RbeeError('CANCELLED', 'the queen was started anew, and the client of the task did not come back', {
    details: { reason: 'client_gone' },
  });
}
