import { type Clock, type IncomingStream, type RetryContext, retry } from '@rbee/daemon-kit/client';
import {
  type EndEvent,
  fromErrorEvent,
  isRbeeError,
  normalizeInferenceEvent,
  RbeeError,
  type SseMessage,
  type TaskEvent,
  type TaskRequestInput,
  taskEventSchema,
} from '@rbee/protocol';
import { probeQueen } from '../queen/probe-queen.js';
import type { QueenClient } from '../queen/queen-client.js';

export interface RunTaskOptions extends RetryContext {
  readonly clock: Clock;
  readonly jobId: string;
  readonly correlationId: string;
  /** Cancels the task when it is aborted. */
  readonly signal: AbortSignal;
  /** How long the queen may take to acknowledge a cancellation. */
  readonly cancelAckMs: number;
  /** Told about every event but errors, in order; the next one waits for it. */
  readonly onEvent: (event: TaskEvent) => Promise<void> | void;
}

const SUBMIT_WAITS_MS = [0, 100, 200];
const SILENCE_CHECK_MS = 15_000;
const SILENCE_PROBE_MS = 10_000;
const SILENCE_PROBES = 3;

/**
 * Runs one task to its end. Throws the task's error, WORKER_CONNECTION_LOST when the stream breaks off, or the signal's
 * reason once the cancellation was acknowledged or its time is up.
 */
export async function runTask(queen: QueenClient, body: TaskRequestInput, options: RunTaskOptions): Promise<EndEvent> {
  const { signal, jobId, correlationId } = options;
  signal.throwIfAborted();
  const giveUp = new AbortController();
  let cancelling: Promise<void> | undefined;
  const cancel = () => {
    // An acknowledgement that does not come changes nothing: the closed connection cancels the task as well.
    cancelling = queen
      .cancelTask(jobId, correlationId, options.cancelAckMs)
      .catch(() => undefined)
      .finally(() => giveUp.abort(signal.reason));
  };
  signal.addEventListener('abort', cancel, { once: true });
  const heard = { at: options.clock.monotonic() };
  const stopWatching = watchSilence(queen, options.clock, heard, giveUp);
  try {
    const stream = await submit(queen, body, options, giveUp.signal);
    return await follow(stream, options, heard);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', cancel);
    stopWatching();
    await cancelling;
  }
}

/** A connection that was refused said nothing about the task; anything later may have begun it. */
function submit(
  queen: QueenClient,
  body: TaskRequestInput,
  options: RunTaskOptions,
  signal: AbortSignal,
): Promise<IncomingStream> {
  const isRetryable = (error: unknown) => isRbeeError(error) && error.details.cause === 'ECONNREFUSED';
  return retry({ waits: SUBMIT_WAITS_MS, isRetryable }, { ...options, signal }, () =>
    queen.runTask(body, options.correlationId, signal),
  );
}

async function follow(stream: IncomingStream, options: RunTaskOptions, heard: { at: number }): Promise<EndEvent> {
  let end: EndEvent | undefined;
  try {
    for await (const message of stream.messages) {
      heard.at = options.clock.monotonic();
      const event = readTaskEvent(message);
      if (!event || options.signal.aborted) continue;
      if (event.type === 'error') throw fromErrorEvent(event);
      await options.onEvent(event);
      if (event.type === 'end') end = event;
    }
  } catch (error) {
    // What breaks behind the end of the answer takes nothing from it.
    if (end) return end;
    throw error;
  }
  if (end) return end;
  throw new RbeeError('WORKER_CONNECTION_LOST', 'the stream from queen-rbee ended without an end of the task');
}

/** An event of either the current or the older, unnamed shape; `undefined` for one that this version does not know. */
function readTaskEvent(message: SseMessage): TaskEvent | undefined {
  try {
    const data: unknown = JSON.parse(message.data);
    return taskEventSchema.safeParse(message.event === undefined ? normalizeInferenceEvent(data) : data).data;
  } catch {
    // A reader survives what it cannot parse.
    return undefined;
  }
}

/** A queen that is silent for long is asked for its health; one that does not answer again and again is given up. */
function watchSilence(queen: QueenClient, clock: Clock, heard: { at: number }, giveUp: AbortController): () => void {
  let unanswered = 0;
  let probing = false;
  return clock.every(SILENCE_CHECK_MS, () => {
    const silentMs = clock.monotonic() - heard.at;
    if (silentMs < SILENCE_CHECK_MS) unanswered = 0;
    if (silentMs < SILENCE_CHECK_MS || probing) return;
    probing = true;
    void probeQueen(queen.target, SILENCE_PROBE_MS)
      .then(
        (probe) => probe.state === 'up',
        () => false,
      )
      .then((answered) => {
        probing = false;
        unanswered = answered ? 0 : unanswered + 1;
        if (unanswered >= SILENCE_PROBES) giveUp.abort(toSilenceError(silentMs));
      });
  });
}

function toSilenceError(silentMs: number): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', 'queen-rbee does not answer any more', {
    details: { service: 'queen-rbee', silent_seconds: Math.round(silentMs / 1000) },
    suggestion: 'stop it and try again: rbee-keeper queen stop',
  });
}
