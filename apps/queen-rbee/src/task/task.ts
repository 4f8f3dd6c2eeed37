import { type Clock, createNarrator, type Logger, type Narrate } from '@rbee/daemon-kit';
import { type Narration, type ProgressEvent, RbeeError, type TaskRequest } from '@rbee/protocol';
import type { Wanted } from '../placement/snapshot.js';
import type { Listener } from '../worker/crowd.js';
import type { TaskOutput } from './task-output.js';

export interface TaskOptions {
  readonly id: string;
  /** Place in the order in which all tasks came. */
  readonly ticket: number;
  readonly request: TaskRequest;
  readonly correlationId: string;
  /** When the client's patience ends, milliseconds since the epoch. */
  readonly deadline: number | undefined;
  /** Aborted when the client is gone, or its header's deadline has passed. */
  readonly client: AbortSignal;
  readonly clock: Clock;
  /** The service's logger; the task adds its ids. */
  readonly log: Logger;
}

/** One task from its acceptance to its terminal event. Whatever ends it early goes through `cancel`; the first reason counts. */
export class Task implements Listener {
  readonly id: string;
  readonly ticket: number;
  readonly request: TaskRequest;
  readonly correlationId: string;
  readonly log: Logger;
  readonly narrate: Narrate;
  /** Workers that this task has lost or that turned it away. */
  readonly excluded = new Set<string>();
  /** Nodes that could not serve this task, with the reason. */
  readonly excludedNodes = new Map<string, string>();
  /** Where the user was told that the task is placed. */
  placedOn: string | undefined;
  /** Workers that were started for it, or for another task while it waited. */
  readonly freshWorkers = new Set<string>();
  /** Settles when the task has ended and everything it held was given back. */
  readonly ended: Promise<void>;
  /** Best place in a queue that the client was told; a task that is queued anew is never told a worse one. */
  bestPosition = Number.POSITIVE_INFINITY;
  /** How long it may stand in queues, on the steady clock; set when it first does. */
  waitsUntilMs: number | undefined;
  /** `token` events passed on so far. */
  tokensOut = 0;
  output: TaskOutput | undefined;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #forget: (() => void)[] = [];
  #deadline: number | undefined;
  #settle: () => void = () => undefined;

  constructor(options: TaskOptions) {
    const { id, ticket, request, correlationId, deadline, client, clock, log } = options;
    this.id = id;
    this.ticket = ticket;
    this.request = request;
    this.correlationId = correlationId;
    this.#clock = clock;
    this.log = log.with({ job_id: id, correlation_id: correlationId });
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.narrate = createNarrator({
      service: 'queen-rbee',
      clock,
      // The event carries the ids already.
      log,
      deliver: (event) => this.output?.tell(event),
      fields: { job_id: id, correlation_id: correlationId, model_ref: request.model },
    });
    const leave = () => this.#abort.abort(client.reason);
    if (client.aborted) leave();
    client.addEventListener('abort', leave, { once: true });
    this.#forget.push(() => client.removeEventListener('abort', leave));
    if (deadline !== undefined) this.limit(deadline);
  }

  /** Aborted with the reason why the task may not go on. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** When the task must have ended, milliseconds since the epoch. */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  get wanted(): Wanted {
    const { node, model, backend, device } = this.request;
    return { node, model, backend, device, excluded: this.excluded, excludedNodes: this.excludedNodes };
  }

  /** Passes on what another process said while this task waited for it, under the id of this task. */
  readonly pass = (event: Narration | ProgressEvent): void => {
    if (event.type === 'progress') this.output?.tell(event);
    else this.output?.tell({ ...event, correlation_id: this.correlationId });
  };

  /** Sets a deadline where there is none. */
  limit(deadline: number): void {
    if (this.#deadline !== undefined) return;
    this.#deadline = deadline;
    const text = new Date(deadline).toISOString();
    const pass = () =>
      this.cancel(
        new RbeeError('REQUEST_TIMEOUT', `the deadline ${text} has passed`, {
          details: { deadline: text, tokens_out: this.tokensOut },
          suggestion: 'allow more time, for example with --timeout 10m',
        }),
      );
    this.#forget.push(this.#clock.after(Math.max(0, deadline - this.#clock.now()), pass));
  }

  cancel(reason: RbeeError): void {
    this.#abort.abort(reason);
  }

  /** Lets go of timers and listeners. */
  end(): void {
    for (const forget of this.#forget) forget();
    this.#settle();
  }
}
