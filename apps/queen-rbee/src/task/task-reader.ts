import { type Clock, type EventStream, formatDuration } from '@rbee/daemon-kit';
import { RbeeError, type TaskEvent } from '@rbee/protocol';
import type { EventPlace } from './event-id.js';
import { shuttingDown } from './shutting-down.js';
import type { LogReader, TaskLog } from './task-log.js';

export interface TaskReaderOptions {
  readonly clock: Clock;
  /** How long a reader may take nothing while there is something for it. */
  readonly stallMs: number;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** Holds the status line back until a worker has accepted the job, so that a client that looks at it sees a failure there. */
  readonly hold: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** The event of which the client knows already. */
  readonly after?: EventPlace | undefined;
}

/** One client's event stream of a task: writes what has come in one write each turn, and waits when the client is slow. */
export class TaskReader implements LogReader {
  cursor = 0;
  readonly holdsBack = true;
  readonly #log: TaskLog;
  readonly #stream: EventStream<TaskEvent>;
  readonly #options: TaskReaderOptions;
  #draining = false;
  #over = false;
  #settle: { resolve: () => void; reject: (reason: unknown) => void } | undefined;

  constructor(log: TaskLog, stream: EventStream<TaskEvent>, options: TaskReaderOptions) {
    this.#log = log;
    this.#stream = stream;
    this.#options = options;
  }

  /**
   * Resolves when the client has the terminal event. Throws the error of a task that failed before the status line went out, the
   * signal's reason when the client has gone, and CANCELLED when it was cut off because it takes nothing.
   */
  run(): Promise<void> {
    const { signal, after } = this.#options;
    return new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
      const leave = () => this.#end(() => reject(signal.reason));
      this.#log.attach(this, after);
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      this.wake();
    }).finally(() => this.#log.detach(this));
  }

  wake(): void {
    if (this.#log.suspended) this.#leaveToNext();
    else if (this.#stream.opened || this.#mayOpen()) this.#write();
    else if (this.#log.complete) this.#end(({ reject }) => reject(this.#log.failure));
  }

  #write(): void {
    while (!this.#draining && !this.#over) {
      const { frames, terminal } = this.#log.read(this);
      if (frames === '') return;
      this.#stream.open(this.#options.headers);
      const keptUp = this.#stream.sendFrame(frames, terminal);
      if (!keptUp) this.#drain(terminal);
      else if (terminal) this.#end(({ resolve }) => resolve());
    }
  }

  #mayOpen(): boolean {
    const { hold } = this.#options;
    if (hold) return this.#log.accepted;
    const { firstKind } = this.#log;
    // A task that failed before it was accepted has nothing else to tell.
    return firstKind !== undefined && firstKind !== 'error';
  }

  /** Waits until the client has taken what it was given. */
  #drain(terminal: boolean): void {
    const { clock, stallMs, signal } = this.#options;
    this.#draining = true;
    const cancel = clock.after(stallMs, () => {
      this.#stream.cut();
      this.#end(({ reject }) => reject(toStallError(stallMs)));
    });
    this.#stream
      .drained(signal)
      .finally(cancel)
      .then(
        () => {
          this.#draining = false;
          if (terminal) this.#end(({ resolve }) => resolve());
          else this.wake();
        },
        (reason: unknown) => this.#end(({ reject }) => reject(reason)),
      );
  }

  /** The task goes on with another queen: its client is to look for that one, and must not take this for the end. */
  #leaveToNext(): void {
    if (this.#stream.opened) this.#stream.cut();
    this.#end(({ reject }) => reject(shuttingDown()));
  }

  #end(act: (settle: { resolve: () => void; reject: (reason: unknown) => void }) => void): void {
    if (this.#over || !this.#settle) return;
    this.#over = true;
    act(this.#settle);
  }
}

function toStallError(stallMs: number): RbeeError {
  return new RbeeError('CANCELLED', `the client took nothing for ${formatDuration(stallMs)}`, {
    details: { limit_ms: stallMs },
  });
}
