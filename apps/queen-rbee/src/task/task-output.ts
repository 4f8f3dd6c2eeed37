import type { EventStream, Logger } from '@rbee/daemon-kit';
import { readEvent } from '@rbee/daemon-kit';
import {
  encodeSse,
  endEventSchema,
  errorEventSchema,
  fromErrorEvent,
  type GenerationResult,
  RbeeError,
  type SseMessage,
  type TaskEvent,
  tokenEventSchema,
} from '@rbee/protocol';

/** What a worker's message is; only terminal ones end the stream. */
export type MessageKind = 'started' | 'token' | 'narration' | 'metrics' | 'end' | 'error';

/** Where a task's events go. */
export interface TaskOutput {
  /** Sends an event of the queen's own; after the worker's `started` only narration, because the rest belongs before it. */
  tell(event: TaskEvent): void;
  /** The worker has accepted the job: from now on the answer is a success. */
  accept(): void;
  /** Passes an event of the worker on as it is. The promise, if any, resolves when the reader has caught up. */
  relay(message: SseMessage, kind: MessageKind, signal: AbortSignal): Promise<void> | undefined;
}

/** More events than a start ever has; a bound only for a peer that talks without end. */
const MOST_HELD = 1_000;

/**
 * An answer as an event stream. With `hold` the status line waits until a worker has accepted the job, so that a client
 * that looks at the status sees a failure there; the events up to then are kept.
 */
export class StreamedOutput implements TaskOutput {
  readonly #stream: EventStream<TaskEvent>;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #log: Logger;
  #held: TaskEvent[] | undefined;
  #started = false;

  constructor(
    stream: EventStream<TaskEvent>,
    options: { hold: boolean; headers: Readonly<Record<string, string>>; log: Logger },
  ) {
    this.#stream = stream;
    this.#headers = options.headers;
    this.#log = options.log;
    if (options.hold) this.#held = [];
    else stream.open(options.headers);
  }

  tell(event: TaskEvent): void {
    if (this.#stream.terminated || (this.#started && event.type !== 'narration')) return;
    if (!this.#held) {
      this.#stream.send(event);
      return;
    }
    if (event.type === 'progress' && this.#held.at(-1)?.type === 'progress') this.#held.pop();
    if (this.#held.length < MOST_HELD) this.#held.push(event);
    else this.#log.warn({ event: event.type }, 'dropped an event: too many before the worker accepted the job');
  }

  accept(): void {
    const held = this.#held;
    if (!held) return;
    this.#held = undefined;
    this.#stream.open(this.#headers);
    for (const event of held) this.#stream.send(event);
  }

  relay({ event, data }: SseMessage, kind: MessageKind, signal: AbortSignal): Promise<void> | undefined {
    if (kind === 'started') {
      // A task that was placed again goes on where the client believes it to be.
      if (this.#started) return undefined;
      this.#started = true;
    }
    const keptUp = this.#stream.sendFrame(encodeSse({ event, data }), kind === 'end' || kind === 'error');
    return keptUp ? undefined : this.#stream.drained(signal);
  }
}

/** An answer as one JSON body: the text is collected, and a failure is thrown. */
export class CollectedOutput implements TaskOutput {
  readonly #jobId: string;
  readonly #texts: string[] = [];
  #result: GenerationResult | undefined;

  constructor(jobId: string) {
    this.#jobId = jobId;
  }

  /** The body, once the `end` event was relayed. */
  get result(): GenerationResult | undefined {
    return this.#result;
  }

  tell(): void {
    // Nobody reads along: what is narrated stands in the log.
  }

  accept(): void {
    // The status line goes out with the body.
  }

  relay(message: SseMessage, kind: MessageKind): undefined {
    if (kind === 'token') this.#texts.push(readAs(tokenEventSchema, message).t);
    else if (kind === 'error') throw fromErrorEvent(readAs(errorEventSchema, message));
    else if (kind === 'end') {
      const { type: _type, ...figures } = readAs(endEventSchema, message);
      this.#result = { job_id: this.#jobId, text: this.#texts.join(''), ...figures };
    }
    return undefined;
  }
}

function readAs<S extends Parameters<typeof readEvent>[0]>(schema: S, message: SseMessage) {
  const event = readEvent(schema, message);
  if (event !== undefined) return event;
  throw new RbeeError('INVALID_RESPONSE', `the worker sent a ${message.event} event that cannot be read`, {
    details: { service: 'llm-worker-rbee', event: message.event },
    suggestion: 'repeat the request; if it happens again, restart the worker',
  });
}
