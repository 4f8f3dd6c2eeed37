import type { Clock } from '@rbee/daemon-kit';
import type { TaskDetail, TaskState, TaskSummary } from '@rbee/protocol';
import type { TaskRow } from '../journal/journal-schema.js';
import type { JournalEvent, Journaled } from '../journal/task-journal.js';
import type { Task } from './task.js';
import type { TaskLog } from './task-log.js';

/** A task that has not ended, or whose end is still on its way to the journal and to its readers; with its log. */
export class OwnedTask implements Journaled {
  #version = 0;
  #assigned: Task['assigned'];
  #endedAt: number | undefined;

  constructor(
    readonly clock: Pick<Clock, 'now'>,
    readonly task: Task,
    readonly log: TaskLog,
    /** Digest of what was asked for. */
    readonly digest: string,
  ) {
    this.#assigned = task.assigned;
  }

  get ticket(): number {
    return this.task.ticket;
  }

  /** Whether nothing of it is left to do: everything was given back, and its end can be read or is up to another queen. */
  get over(): boolean {
    return this.task.isOver && (this.log.complete || this.log.suspended);
  }

  /** Whether the client was told that the task was accepted; before that it leaves no trace. */
  get accepted(): boolean {
    return this.log.hasAccepted;
  }

  get version(): number {
    if (this.task.assigned !== this.#assigned) {
      this.#assigned = this.task.assigned;
      this.#version++;
    }
    return this.#version + Number(this.log.started) + Number(this.log.ended);
  }

  get unwritten(): readonly JournalEvent[] {
    return this.log.unwritten;
  }

  written(): JournalEvent[] {
    return this.log.written();
  }

  get state(): TaskState {
    const { ended, failure, started } = this.log;
    if (ended) return failure ? (failure.code === 'CANCELLED' ? 'cancelled' : 'failed') : 'ended';
    return started ? 'generating' : this.task.state;
  }

  toRow(): Omit<TaskRow, 'first_event' | 'last_event'> {
    const { task, log } = this;
    const { request, delivered, assigned } = task;
    const { failure, ended } = log;
    if (ended) this.#endedAt ??= this.clock.now();
    return {
      ticket: task.ticket,
      job_id: task.id,
      run: task.run,
      digest: this.digest,
      request: ended ? null : JSON.stringify(request),
      model: request.model,
      priority: request.priority,
      client: task.client,
      correlation_id: task.correlationId,
      deadline: task.deadline ?? null,
      accepted_at: task.acceptedAt,
      node: assigned?.node ?? null,
      worker_id: assigned?.workerId ?? null,
      prompt_ids: delivered.promptIds && !ended ? JSON.stringify(delivered.promptIds) : null,
      model_digest: delivered.modelDigest ?? null,
      tokens_out: task.tokensOut,
      resumed: task.resumed,
      state: ended ? this.state : null,
      ended_at: this.#endedAt ?? null,
      error: failure ? JSON.stringify({ code: failure.code, message: failure.message }) : null,
    };
  }

  toSummary(): TaskSummary {
    const { state, task, log } = this;
    const position = state === 'queued' ? task.position : undefined;
    return { ...summarize({ ...this.toRow(), state }), position, clients: log.readers };
  }
}

/** An ended task as it is listed. */
export function summarize(row: Omit<TaskRow, 'first_event' | 'last_event'>): TaskSummary {
  const { ended_at, deadline, error } = row;
  return {
    job_id: row.job_id,
    state: row.state as TaskSummary['state'],
    model: row.model,
    node: row.node ?? undefined,
    worker_id: row.worker_id ?? undefined,
    priority: row.priority as TaskSummary['priority'],
    position: undefined,
    tokens_out: row.tokens_out,
    resumed: row.resumed,
    recovered: row.run > 1,
    clients: 0,
    accepted_at: new Date(row.accepted_at).toISOString(),
    ended_at: ended_at === null ? undefined : new Date(ended_at).toISOString(),
    deadline: deadline === null ? undefined : new Date(deadline).toISOString(),
    correlation_id: row.correlation_id,
    error: error === null ? undefined : (JSON.parse(error) as TaskDetail['error']),
  };
}
