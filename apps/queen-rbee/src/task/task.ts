import { type Clock, createNarrator, type Logger, type Narrate } from '@rbee/daemon-kit';
import {
  type Narration,
  type ProgressEvent,
  RbeeError,
  type TaskEvent,
  type TaskRequest,
  type TaskState,
} from '@rbee/protocol';
import type { Wanted } from '../placement/snapshot.js';
import type { Listener } from '../worker/crowd.js';
import { Delivered } from './delivered.js';
import type { TaskOutput } from './task-output.js';

export interface TaskOptions {
  readonly id: string;
  /** Place in the order in which all tasks came. */
  readonly ticket: number;
  readonly request: TaskRequest;
  readonly correlationId: string;
  /** When the client's patience ends, milliseconds since the epoch. */
  readonly deadline: number | undefined;
  /** Whose task it is, as far as fairness between clients goes: the address that it came from. */
  readonly client: string;
  /** Wall clock at its acceptance, milliseconds since the epoch; now, if it is new. */
  readonly acceptedAt?: number;
  /** Which queen of those that had the task this one is, from 1: more than 1 means that it was taken over from a queen that ended. */
  readonly run?: number;
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
  readonly client: string;
  readonly acceptedAt: number;
  readonly run: number;
  readonly log: Logger;
  readonly narrate: Narrate;
  /** Workers that this task has lost or that turned it away. */
  readonly excluded = new Set<string>();
  /** Nodes that could not serve this task, with the reason. */
  readonly excludedNodes = new Map<string, string>();
  /** How it stands, as it is listed. */
  state: TaskState = 'starting';
  /** Its place in the queue while it is queued. */
  position: number | undefined;
  /** The node and the worker that it runs on, or ran on last. */
  assigned: { readonly node: string; readonly workerId: string } | undefined;
  /** Where the user was told that the task is placed. */
  placedOn: string | undefined;
  /** Whether a hive that ran had a worker for it, or was to start one. */
  wasPlaced = false;
  /** Workers that were started for it, or for another task while it waited. */
  readonly freshWorkers = new Set<string>();
  /** Settles when the task has ended and everything it held was given back. */
  readonly ended: Promise<void>;
  /** How long it may stand in queues, on the steady clock; set when it first does. */
  waitsUntilMs: number | undefined;
  /** What of the answer has gone out, so that it can go on elsewhere. */
  readonly delivered = new Delivered();
  /** How often it went on at another worker after tokens had gone out. */
  resumed = 0;
  output: TaskOutput | undefined;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #forget: (() => void)[] = [];
  #deadline: number | undefined;
  #isOver = false;
  #settle: () => void = () => undefined;

  constructor(options: TaskOptions) {
    const { id, ticket, request, correlationId, deadline, client, clock, log } = options;
    this.id = id;
    this.ticket = ticket;
    this.request = request;
    this.correlationId = correlationId;
    this.client = client;
    this.acceptedAt = options.acceptedAt ?? clock.now();
    this.run = options.run ?? 1;
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

  /** `token` events passed on so far. */
  get tokensOut(): number {
    return this.delivered.count;
  }

  /** Whether a queen that was started anew took it over. */
  get recovered(): boolean {
    return this.run > 1;
  }

  /** Whether it goes on without a client. */
  get kept(): boolean {
    return this.request.on_disconnect === 'keep';
  }

  get wanted(): Wanted {
    const { node, model, backend, device } = this.request;
    const { excluded, excludedNodes } = this;
    return { node, model, backend, device, excluded, excludedNodes, ...this.delivered.place };
  }

  /** Passes on what another process said while this task waited for it, under the id of this task. */
  readonly pass = (event: Narration | ProgressEvent): void => {
    if (event.type === 'progress') this.output?.tell(event);
    else this.output?.tell({ ...event, correlation_id: this.correlationId });
  };

  /** Learns from what is told of the task how it stands. */
  note(event: TaskEvent): void {
    if (event.type === 'queued') {
      this.position = event.position;
      if (this.state === 'starting') this.state = 'queued';
    } else if (event.type === 'worker') {
      this.position = undefined;
      this.assigned = { node: event.node, workerId: event.worker_id };
      if (this.state === 'queued') this.state = 'starting';
    }
  }

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

  /** Whether it has ended and everything that it held was given back. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Lets go of timers and listeners. */
  end(): void {
    this.#isOver = true;
    for (const forget of this.#forget) forget();
    this.#settle();
  }
}
