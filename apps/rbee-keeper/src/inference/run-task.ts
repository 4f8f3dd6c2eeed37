import type { Clock, IncomingStream } from '@rbee/daemon-kit/client';
import {
  type EndEvent,
  fromErrorEvent,
  isRbeeError,
  RbeeError,
  type TaskEvent,
  type TaskRequestInput,
} from '@rbee/protocol';
import type { QueenConnection } from '../queen/queen-connection.js';
import type { KeeperSettings } from '../settings.js';
import { cancelTask } from './cancel-task.js';
import { newJobId } from './job-id.js';
import { readTaskEvent } from './read-task-event.js';
import { type Hearing, watchSilence } from './silence-watch.js';
import { watchStandstill } from './standstill-watch.js';
import { TaskCursor } from './task-cursor.js';
import { WayBack } from './way-back.js';

/** What a task needs of a connection to a queen. */
export type TaskQueen = Pick<QueenConnection, 'client' | 'look' | 'revive' | 'settled'>;

/**
 * A task to run; without `body` one that the queen has already, which is only watched: leaving it does not cancel it. One that was
 * cancelled before its first token because its client seemed to be gone is sent again under another id.
 */
export interface TaskToRun {
  readonly jobId: string;
  readonly body?: TaskRequestInput;
}

export interface RunTaskOptions {
  readonly clock: Clock;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly correlationId: string;
  /** Cancels the task when it is aborted. */
  readonly signal: AbortSignal;
  readonly settings: Pick<
    KeeperSettings,
    'cancel_ack' | 'first_byte' | 'model_load' | 'queen_healthy' | 'queen_probe' | 'slot_wait' | 'stall'
  >;
  /** Told about every event but errors, each once and in order; the next one waits for it. */
  readonly onEvent: (event: TaskEvent) => Promise<void> | void;
  /** Told when the queen has been away for a while and is still looked for. */
  readonly onAbsence: () => void;
}

/**
 * Runs one task to its end, over as many connections and queens as it takes: what was lost of a stream is asked for again, so that every
 * event comes once. Throws the task's error, WORKER_CONNECTION_LOST when no queen answers for the time that one may take to start,
 * REQUEST_TIMEOUT when the queen does not keep the task's deadline, or the signal's reason once the task was cancelled.
 */
export function runTask(queen: TaskQueen, task: TaskToRun, options: RunTaskOptions): Promise<EndEvent> {
  return new TaskRun(queen, task, options).run();
}

/** How one connection ended. */
type Outcome =
  | { readonly kind: 'ended'; readonly end: EndEvent }
  | { readonly kind: 'failed'; readonly error: RbeeError }
  | { readonly kind: 'lost'; readonly error: RbeeError };

/** How long the queen may overrun the deadline of a task before the keeper goes without an answer. */
const OVERRUN_MS = 5_000;

/** How often a task that a queen has given up or forgotten is sent again, and how often a connection may be lost without a further token. */
const MOST_REPEATS = 3;
const MOST_LOSSES = 16;

class TaskRun {
  readonly #queen: TaskQueen;
  #task: TaskToRun;
  readonly #options: RunTaskOptions;
  readonly #cursor = new TaskCursor();
  readonly #wayBack: WayBack;
  readonly #stop = new AbortController();
  #handling = false;
  #rewound = false;
  #repeats = 0;
  #losses = 0;
  #giving: Promise<void> | undefined;

  constructor(queen: TaskQueen, task: TaskToRun, options: RunTaskOptions) {
    const { clock, variables, settings, onAbsence } = options;
    this.#queen = queen;
    this.#task = task;
    this.#options = options;
    this.#wayBack = new WayBack(queen, {
      clock,
      variables,
      limitMs: settings.queen_healthy,
      onAbsence,
    });
  }

  async run(): Promise<EndEvent> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    const giveUp = () => this.#giveUp(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const stopTimers = [this.#watchDeadline(), this.#watchStandstill()];
    try {
      return await this.#follow();
    } catch (error) {
      if (!this.#giving) throw error;
      await this.#giving;
      throw this.#stop.signal.reason;
    } finally {
      signal.removeEventListener('abort', giveUp);
      for (const stop of stopTimers) stop();
      this.#wayBack.arrive();
      // An answer that came to its end meanwhile counts, but its cancellation is not left hanging.
      await this.#giving;
    }
  }

  async #follow(): Promise<EndEvent> {
    for (;;) {
      const outcome = await this.#connect();
      if (outcome.kind === 'ended') return outcome.end;
      if (outcome.kind === 'failed' && !this.#repeat(outcome.error)) throw this.#explain(outcome.error);
      this.#losses++;
      // A task that ends every queen, or a queen that loses every connection, comes to an end all the same.
      if (this.#losses > MOST_LOSSES) throw toBrokenError(`queen-rbee was lost ${this.#losses} times without a token`);
      await this.#wayBack.find(this.#task.jobId, outcome.error, this.#stop.signal);
    }
  }

  /** One connection, from its request to its end. */
  async #connect(): Promise<Outcome> {
    const { clock } = this.#options;
    const silence = new AbortController();
    const heard = { at: clock.monotonic() };
    const stopWatching = watchSilence(this.#queen, clock, heard, (error) => silence.abort(error));
    const signal = AbortSignal.any([this.#stop.signal, silence.signal]);
    try {
      const stream = await this.#open(signal);
      this.#wayBack.connect();
      try {
        return await this.#read(stream, heard);
      } finally {
        stream.close();
      }
    } catch (error) {
      if (this.#stop.signal.aborted || !isRbeeError(error)) throw error;
      return { kind: isLoss(error) ? 'lost' : 'failed', error };
    } finally {
      stopWatching();
    }
  }

  async #open(signal: AbortSignal): Promise<IncomingStream> {
    const { body, jobId } = this.#task;
    const { client } = this.#queen;
    const call = {
      correlationId: this.#options.correlationId,
      signal,
      timeoutMs: this.#options.settings.queen_healthy,
    };
    // Sent again with its id, a task that has arrived is attached to, and one that has not begins.
    if (body && this.#cursor.isFresh) return client.runTask(body, call);
    try {
      return await client.taskEvents(jobId, this.#cursor.lastEventId, call);
    } catch (error) {
      if (!body || !isRbeeError(error) || error.code !== 'NOT_FOUND') throw error;
      if (this.#cursor.tokens > 0 || this.#repeats >= MOST_REPEATS) throw toForgottenError(error);
      this.#repeats++;
      this.#cursor.restart();
      return client.runTask(body, call);
    }
  }

  async #read(stream: IncomingStream, heard: Hearing): Promise<Outcome> {
    const { clock, onEvent } = this.#options;
    let end: EndEvent | undefined;
    try {
      for await (const message of stream.messages) {
        heard.at = clock.monotonic();
        const event = readTaskEvent(message);
        if (!event || this.#giving !== undefined) continue;
        const verdict = this.#cursor.judge(event, message.id);
        if (verdict === 'gap') return this.#missTokens();
        if (verdict === 'seen') continue;
        this.#wayBack.arrive();
        if (event.type === 'error') return { kind: 'failed', error: fromErrorEvent(event) };
        this.#handling = true;
        await onEvent(event);
        this.#handling = false;
        this.#cursor.note(event, message.id);
        if (event.type === 'token') {
          this.#rewound = false;
          this.#losses = 0;
        }
        if (event.type === 'end') end = event;
      }
    } catch (error) {
      // What breaks behind the end of the answer takes nothing from it.
      if (!end) throw error;
    }
    if (end) return { kind: 'ended', end };
    return { kind: 'lost', error: toBrokenError('the stream from queen-rbee ended without an end of the task') };
  }

  /** Tokens that did not come are asked for again once, from the beginning of the task. */
  #missTokens(): Outcome {
    const error = new RbeeError('INVALID_RESPONSE', 'queen-rbee left out a part of the answer', {
      details: { service: 'queen-rbee', next_token: this.#cursor.tokens },
      suggestion: 'repeat the command',
    });
    if (this.#rewound) return { kind: 'failed', error };
    this.#rewound = true;
    this.#cursor.rewind();
    return { kind: 'lost', error };
  }

  /** Has a task that was cancelled with the connection sent again, as long as nothing of its answer has come. */
  #repeat(error: RbeeError): boolean {
    const { body } = this.#task;
    const isOver = this.#cursor.tokens > 0 || this.#repeats >= MOST_REPEATS || this.#options.variables.RBEE_NO_RETRY;
    if (!body || !lostItsClient(error) || isOver) return false;
    this.#repeats++;
    const jobId = newJobId();
    this.#task = { jobId, body: { ...body, job_id: jobId } };
    this.#cursor.restart();
    return true;
  }

  /** Says what the loss of the connection did, where the queen lived on and took it for the end of her client. */
  #explain(error: RbeeError): RbeeError {
    if (!lostItsClient(error)) return error;
    return new RbeeError('CANCELLED', 'the connection to queen-rbee broke off, and the task was cancelled with it', {
      details: error.details,
      suggestion: 'repeat the command; with --on-disconnect keep a task goes on without its client',
      ...(error.correlationId === undefined ? {} : { correlationId: error.correlationId }),
      cause: error,
    });
  }

  /** Cancels the task, as far as the queen can be told, and ends the run with a reason. */
  #giveUp(reason: unknown): void {
    const { body, jobId } = this.#task;
    const { clock, correlationId, settings } = this.#options;
    this.#giving ??= (async () => {
      const away = this.#wayBack.isAway;
      if (body && !staysBehind(body, reason)) {
        await cancelTask(this.#queen, jobId, { clock, correlationId, away, settings });
      }
      this.#stop.abort(reason);
    })();
  }

  /** The queen keeps the deadline; one that does not must not keep the user. */
  #watchDeadline(): () => void {
    const seconds = this.#task.body?.timeout_seconds;
    if (seconds == null) return () => undefined;
    return this.#options.clock.after(seconds * 1000 + OVERRUN_MS, () =>
      this.#giveUp(
        new RbeeError('REQUEST_TIMEOUT', `queen-rbee did not end the task within its time of ${seconds} s`, {
          details: { timeout_seconds: seconds, service: 'queen-rbee' },
        }),
      ),
    );
  }

  /** No step of a task takes longer than its own limit: a queen that talks, but tells nothing new for longer, is stuck or lies. */
  #watchStandstill(): () => void {
    const { clock, settings } = this.#options;
    const limitMs = Math.max(settings.first_byte, settings.model_load, settings.slot_wait) + settings.stall;
    const task = { count: () => this.#cursor.events, isExcused: () => this.#handling || this.#wayBack.isAway };
    return watchStandstill(clock, limitMs, task, (ms) =>
      this.#giveUp(toBrokenError(`queen-rbee has told nothing new of the task for ${Math.round(ms / 1000)} s`)),
    );
  }
}

function lostItsClient({ code, details }: RbeeError): boolean {
  return code === 'CANCELLED' && details.reason === 'client_gone';
}

/** Whether a task that is kept goes on when its user leaves: one who closes the terminal does, one who presses Ctrl+C does not. */
export function staysBehind(body: TaskRequestInput, reason: unknown): boolean {
  const left = isRbeeError(reason) && reason.code === 'CANCELLED' ? reason.details.signal : undefined;
  return body.on_disconnect === 'keep' && (left === 'SIGHUP' || left === 'SIGTERM');
}

/** Whether an error tells of the connection, not of the task: no queen has said it, or one that is just ending. */
function isLoss({ code, correlationId, details }: RbeeError): boolean {
  if (code !== 'CONNECTION_TIMEOUT' && code !== 'WORKER_CONNECTION_LOST') return false;
  return correlationId === undefined || details.reason === 'shutting_down';
}

function toBrokenError(message: string): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', message, { details: { service: 'queen-rbee' } });
}

function toForgottenError(cause: RbeeError): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', 'queen-rbee was started anew and does not know the task any more', {
    details: { ...cause.details, service: 'queen-rbee' },
    suggestion: 'repeat the command',
    ...(cause.correlationId === undefined ? {} : { correlationId: cause.correlationId }),
    cause,
  });
}
