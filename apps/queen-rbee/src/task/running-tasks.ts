import { RbeeError } from '@rbee/protocol';
import type { Task } from './task.js';

/** The tasks that run now, by job id. */
export class RunningTasks {
  readonly #tasks = new Map<string, Task>();
  readonly #onIdle: () => void;
  #tickets = 0;
  #closed = false;

  /** `onIdle` is told whenever the last task has ended. */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

  get size(): number {
    return this.#tasks.size;
  }

  /** The place of a new task in the order in which all come. */
  nextTicket(): number {
    return ++this.#tickets;
  }

  /** Throws JOB_ALREADY_RUNNING when the id is in use, CONNECTION_TIMEOUT (503) once the queen is shutting down. */
  checkId(id: string): void {
    if (this.#closed) throw shuttingDown();
    if (!this.#tasks.has(id)) return;
    throw new RbeeError('JOB_ALREADY_RUNNING', `a job with the id ${id} is running already`, {
      details: { job_id: id },
      suggestion: 'wait for it to end, cancel it, or choose another job_id',
    });
  }

  /** Throws as `checkId`. */
  add(task: Task): void {
    this.checkId(task.id);
    this.#tasks.set(task.id, task);
  }

  remove(task: Task): void {
    if (this.#tasks.get(task.id) !== task) return;
    this.#tasks.delete(task.id);
    task.end();
    if (this.#tasks.size === 0) this.#onIdle();
  }

  /** Cancels a task and waits until it has ended; an unknown id is none that runs. */
  async cancel(id: string): Promise<void> {
    const task = this.#tasks.get(id);
    task?.cancel(new RbeeError('CANCELLED', `the task ${id} was cancelled on request`, { details: { job_id: id } }));
    await task?.ended;
  }

  /** Takes no further task, cancels those that run, and waits until all have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const tasks = [...this.#tasks.values()];
    for (const task of tasks)
      task.cancel(
        new RbeeError('CANCELLED', 'the queen is shutting down: the task was cancelled', {
          suggestion: 'repeat the command: it finds or starts another queen',
        }),
      );
    await Promise.all(tasks.map(({ ended }) => ended));
  }
}

/** The 503 of a queen that takes nothing new. */
export function shuttingDown(): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', 'this queen is shutting down and takes nothing new', {
    details: { service: 'queen-rbee', reason: 'shutting_down' },
    suggestion: 'repeat the command when it has ended; it then starts a new queen',
  });
}
