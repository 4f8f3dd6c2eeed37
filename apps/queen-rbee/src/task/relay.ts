import { type Clock, formatDuration, type IncomingStream, readEvent, type Timeouts } from '@rbee/daemon-kit';
import {
  type ErrorEvent,
  errorEventSchema,
  fromErrorEvent,
  inferenceEventSchema,
  normalizeInferenceEvent,
  RbeeError,
  type SseMessage,
} from '@rbee/protocol';
import { StallWatch } from './stall-watch.js';
import type { Task } from './task.js';
import type { MessageKind, TaskOutput } from './task-output.js';

export interface RelayOptions {
  readonly clock: Clock;
  readonly timeouts: Pick<Timeouts, 'first_byte' | 'stall'>;
  readonly workerId: string;
}

/** How a worker's stream ended. */
export type RelayEnd = { readonly kind: 'end' } | { readonly kind: 'error'; readonly event: ErrorEvent | undefined };

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/**
 * Passes a worker's events on as they are, each at once, until its terminal event. Tokens are not parsed. Throws the
 * task's reason when it is aborted, WORKER_CONNECTION_LOST when the stream breaks off, and, as long as no token has
 * gone out, the error of a worker that gave the job up because it shuts down, so that the job can go elsewhere.
 */
export async function relay(
  stream: IncomingStream,
  task: Task,
  output: TaskOutput,
  options: RelayOptions,
): Promise<RelayEnd> {
  const { signal } = task;
  const watch = new StallWatch({
    clock: options.clock,
    firstMs: options.timeouts.first_byte,
    stallMs: options.timeouts.stall,
    onStall: (limitMs) => task.cancel(toStallError(task, options.workerId, limitMs)),
  });
  try {
    for await (const incoming of stream.messages) {
      if (signal.aborted) throw signal.reason;
      const message = incoming.event === undefined ? nameOlderEvent(incoming) : incoming;
      const kind = kindOf(message);
      if (!kind) {
        task.log.warn(
          { event: incoming.event, worker_id: options.workerId },
          'skipped an event of a worker: it is unknown or cannot be read',
        );
        continue;
      }
      if (kind === 'token') {
        watch.token();
        task.tokensOut++;
      }
      const error = kind === 'error' ? readEvent(errorEventSchema, message) : undefined;
      if (error && task.tokensOut === 0 && gaveUp(error)) throw fromErrorEvent(error);
      const behind = output.relay(message, kind, signal);
      if (kind === 'end') return { kind };
      if (kind === 'error') return { kind, event: error };
      if (!behind) continue;
      watch.pause();
      await behind;
      watch.resume();
    }
    throw new RbeeError(
      'WORKER_CONNECTION_LOST',
      `the stream of worker ${options.workerId} ended without a terminal event`,
    );
  } finally {
    watch.stop();
  }
}

/** What a message is, if it is anything that can be passed on. */
function kindOf({ event, data }: SseMessage): MessageKind | undefined {
  switch (event) {
    case 'token':
      // Parsing every token would double its price; whatever is no object at all is found out for nothing.
      return data.charCodeAt(0) === OPEN_BRACE && data.charCodeAt(data.length - 1) === CLOSE_BRACE ? event : undefined;
    case 'started':
    case 'narration':
    case 'metrics':
    case 'end':
    case 'error':
      return isJson(data) ? event : undefined;
    default:
      return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object';
  } catch {
    // Said by the return value; the caller logs it.
    return false;
  }
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
  const what = task.tokensOut === 0 ? 'no first token' : `no further token after ${task.tokensOut}`;
  return new RbeeError('INFERENCE_TIMEOUT', `${what} from worker ${workerId} within ${formatDuration(limitMs)}`, {
    details: { worker_id: workerId, limit_ms: limitMs, tokens_out: task.tokensOut },
    suggestion: `repeat the request; if it happens again, stop this worker: rbee-keeper workers shutdown --id ${workerId}`,
  });
}
