import { type Clock, formatDuration, type IncomingStream, readEvent, type Timeouts } from '@rbee/daemon-kit';
import {
  type ErrorEvent,
  errorEventSchema,
  fromErrorEvent,
  type InferenceEvent,
  inferenceEventSchema,
  normalizeInferenceEvent,
  RbeeError,
  type SseMessage,
} from '@rbee/protocol';
import { afterTokens } from './diagnose-loss.js';
import { StallWatch } from './stall-watch.js';
import type { Task } from './task.js';
import type { MessageKind, TaskOutput } from './task-output.js';
import { mayBeToken, readTokenIndex } from './token-index.js';

/** An answer is kept in memory until it has ended. A longer one, of a million tokens or so, is none of a worker that can count. */
const MOST_ANSWER_CHARS = 64 * 1024 * 1024;

type StartedEvent = Extract<InferenceEvent, { type: 'started' }>;

export interface RelayOptions {
  readonly clock: Clock;
  readonly timeouts: Pick<Timeouts, 'first_byte' | 'stall'>;
  readonly workerId: string;
  /** SHA-256 of the model that the worker runs, where it is known. */
  readonly modelDigest: string | undefined;
  /** Whether the job may go elsewhere now when the worker gives it up. */
  readonly mayLeave: () => boolean;
}

/** How a worker's stream ended. */
export type RelayEnd = 'end' | 'error';

/**
 * Passes a worker's events on, each at once and as it is, until its terminal event. Tokens are not parsed; what of them went
 * out is noted in the task, and so are the tokens of the prompt, which go no further. Throws the task's reason when it is
 * aborted; WORKER_CONNECTION_LOST when the stream breaks off; INFERENCE_TIMEOUT when no token comes any more; INVALID_RESPONSE
 * when the events cannot be those of this job; and, where the job may leave, the error of a worker that gave it up because
 * it shuts down.
 */
export async function relay(
  stream: IncomingStream,
  task: Task,
  output: TaskOutput,
  options: RelayOptions,
): Promise<RelayEnd> {
  const { signal, delivered } = task;
  const { workerId } = options;
  let stalled: RbeeError | undefined;
  const watch = new StallWatch({
    clock: options.clock,
    firstMs: options.timeouts.first_byte,
    stallMs: options.timeouts.stall,
    onStall: (limitMs) => {
      stalled = toStallError(task, workerId, limitMs);
      stream.close();
    },
  });
  // A job that goes on was started elsewhere.
  let started = delivered.count > 0;
  try {
    for await (const incoming of stream.messages) {
      if (signal.aborted) throw signal.reason;
      if (stalled) throw stalled;
      const message = incoming.event === undefined ? nameOlderEvent(incoming) : incoming;
      const kind = kindOf(message);
      if (!kind) {
        task.log.warn(
          { event: incoming.event, worker_id: workerId },
          'skipped an event of a worker: it is unknown or cannot be read',
        );
        continue;
      }
      if (kind === 'token' || kind === 'end') checkPlace(message, kind, started, task, workerId);
      if (kind === 'token') {
        watch.token();
        delivered.note(message.data);
      }
      const error = kind === 'error' ? readEvent(errorEventSchema, message) : undefined;
      if (error && gaveUp(error) && options.mayLeave()) throw fromErrorEvent(error);
      const passed = kind === 'started' ? takeStart(message, task, options) : message;
      if (kind === 'started') started = true;
      const behind = output.relay(passed, kind, signal);
      if (kind === 'end' || kind === 'error') return kind;
      if (!behind) continue;
      watch.pause();
      await behind;
      watch.resume();
    }
    throw new RbeeError('WORKER_CONNECTION_LOST', `the stream of worker ${workerId} ended without a terminal event`);
  } catch (error) {
    throw stalled && !signal.aborted ? stalled : error;
  } finally {
    watch.stop();
  }
}

/** What a message is, if it is anything that can be passed on. */
function kindOf({ event, data }: SseMessage): MessageKind | undefined {
  switch (event) {
    case 'token':
      return mayBeToken(data) ? event : undefined;
    case 'started':
    case 'narration':
    case 'metrics':
    case 'end':
    case 'error':
      return isEvent(data, event) ? event : undefined;
    default:
      return undefined;
  }
}

function isEvent(text: string, type: MessageKind): boolean {
  try {
    const event = inferenceEventSchema.safeParse(JSON.parse(text)).data;
    return event?.type === type;
  } catch {
    // Said by the return value; the caller logs it.
    return false;
  }
}

/** Throws INVALID_RESPONSE for an event that cannot come now: to pass it on would spoil what the client has. */
function checkPlace({ data }: SseMessage, kind: 'token' | 'end', started: boolean, task: Task, workerId: string): void {
  const expected = task.delivered.count;
  const { max_tokens = Number.POSITIVE_INFINITY } = task.request;
  let fault: string | undefined;
  if (!started) fault = `its ${kind} event came before the start`;
  else if (kind === 'token') {
    const index = readTokenIndex(data);
    if (index === undefined) fault = `its token ${expected} cannot be read`;
    else if (index !== expected) fault = `it sent token ${index} where token ${expected} belongs`;
    else if (index >= max_tokens) fault = `it sent more than ${max_tokens} tokens`;
    else if (task.delivered.chars + data.length > MOST_ANSWER_CHARS) fault = 'its answer is larger than 64 MiB';
  }
  if (fault === undefined) return;
  throw new RbeeError('INVALID_RESPONSE', `worker ${workerId} does not keep to the protocol: ${fault}`, {
    details: { service: 'llm-worker-rbee', worker_id: workerId, tokens_out: expected },
    suggestion: `repeat the request; if it happens again, stop this worker: rbee-keeper workers shutdown --id ${workerId}`,
  });
}

/** Notes the tokens of the prompt, which are the queen's alone; gives the event without them. */
function takeStart(message: SseMessage, { delivered }: Task, { modelDigest }: RelayOptions): SseMessage {
  if (delivered.count > 0) return message;
  const { prompt_ids, ...event } = JSON.parse(message.data) as StartedEvent;
  delivered.promptIds = prompt_ids && prompt_ids.length > 0 ? prompt_ids : undefined;
  delivered.modelDigest = modelDigest;
  return prompt_ids === undefined ? message : { ...message, data: JSON.stringify(event) };
}

/** An event of an older worker, which has no name, in today's form; other messages as they are. */
function nameOlderEvent(message: SseMessage): SseMessage {
  let data: unknown;
  try {
    data = JSON.parse(message.data);
  } catch {
    // It stays without a name, is logged and skipped.
    return message;
  }
  const event = inferenceEventSchema.safeParse(normalizeInferenceEvent(data)).data;
  return event ? { event: event.type, data: JSON.stringify(event) } : message;
}

/** Whether a worker ended a job for reasons of its own that another worker does not have. */
function gaveUp({ code }: ErrorEvent): boolean {
  return code === 'WORKER_DRAINING' || code === 'WORKER_NOT_READY' || code === 'CANCELLED';
}

function toStallError(task: Task, workerId: string, limitMs: number): RbeeError {
  const when = afterTokens(task.tokensOut);
  return new RbeeError('INFERENCE_TIMEOUT', `${formatDuration(limitMs)} without a token from the worker, ${when}`, {
    details: { worker_id: workerId, limit_ms: limitMs, tokens_out: task.tokensOut },
    suggestion: `repeat the request; if it happens again, stop this worker: rbee-keeper workers shutdown --id ${workerId}`,
  });
}
