import { randomUUID } from 'node:crypto';
import {
  type Call,
  type Clock,
  createNarrator,
  type EventStream,
  type Logger,
  type Narrate,
  Reply,
  type Timeouts,
} from '@rbee/daemon-kit';
import {
  type GenerationResult,
  type InferenceEvent,
  RbeeError,
  seedOfResumed,
  toRbeeError,
  type workerRoutes,
} from '@rbee/protocol';
import type { Engine, Job, Lease } from './engine/engine.js';
import type { GenerationEnd, GenerationFigures } from './engine/generation.js';
import type { Emit } from './engine/output-window.js';
import { narrateEnd, narrateFailure, narratePrompt, narrateStart, resumedTokens } from './job-narration.js';
import type { Jobs, RunningJob } from './jobs.js';
import { Reader } from './reader.js';
import { toTokenFrame } from './token-frame.js';
import type { WorkerStatus } from './worker-status.js';

export type InferCall = Call<typeof workerRoutes.infer>;

export interface InferenceParts {
  readonly workerId: string;
  readonly modelRef: string;
  readonly status: WorkerStatus;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Pick<Timeouts, 'inference' | 'reader_stall'>;
}

/** Everything about one accepted request. */
interface Accepted {
  readonly job: Job;
  readonly lease: Lease;
  readonly running: RunningJob;
}

const METRICS_MS = 500;

/** Answers `POST /v1/inference`: as a stream of events, or as one body for `stream: false`. */
export async function infer(
  parts: InferenceParts,
  call: InferCall,
  stream: EventStream<InferenceEvent>,
): Promise<Reply<GenerationResult> | undefined> {
  parts.status.requireEngine();
  const running = parts.jobs.begin(call.body.job_id ?? randomUUID());
  const disconnect = connectCancels(parts, call, running);
  try {
    const accepted = await accept(parts, call, running);
    try {
      return call.body.stream ? await answerStream(parts, call, accepted, stream) : await answerOnce(call, accepted);
    } finally {
      await release(parts, call, accepted);
    }
  } finally {
    disconnect();
    // Of no effect on a job that had a slot.
    running.withdraw();
  }
}

/** Turns the request into tokens and takes a slot for it. Tokens take time: what was true before may have changed by then. */
async function accept({ status }: InferenceParts, { body }: InferCall, running: RunningJob): Promise<Accepted> {
  const { prompt, messages, template, max_tokens: maxTokens, cache_prompt: cachePrompt, resume } = body;
  const limits = { maxTokens, cachePrompt, resume };
  const engine = status.requireEngine();
  if (engine.slotsFree === 0) throw toBusyError(engine);
  const job = await engine.prepare({ prompt, messages, template }, limits, running.signal);
  running.signal.throwIfAborted();
  status.requireEngine();
  const lease = engine.take(job);
  if (!lease) throw toBusyError(engine);
  status.slotsChanged();
  return { job, lease, running };
}

/** A slot that can't be made usable again stays out of service; its job ends all the same. */
async function release({ status }: InferenceParts, { log }: InferCall, { lease, running }: Accepted): Promise<void> {
  try {
    await lease.release();
  } finally {
    running.end();
    status.slotsChanged();
    log.info({ job_id: running.id, slots_available: status.slotsAvailable }, 'the job has left its slot');
  }
}

function toBusyError(engine: Engine): RbeeError {
  const total = engine.slotsTotal;
  return new RbeeError('ALL_SLOTS_BUSY', `all ${total} slots of the worker are busy`, {
    details: { slots_total: total, slots_busy: total - engine.slotsFree },
    suggestion: 'wait for a running job, use another node, or start another worker',
  });
}

/** A client that is gone, a passed deadline and, where none was given, the default one cancel the job. */
function connectCancels(parts: InferenceParts, call: InferCall, running: RunningJob): () => void {
  const forward = (): void => running.cancel(toRbeeError(call.signal.reason));
  if (call.signal.aborted) forward();
  call.signal.addEventListener('abort', forward, { once: true });
  const { clock, timeouts } = parts;
  const limit = call.deadline === undefined ? timeouts.inference : undefined;
  const deadline = new Date(clock.now() + (limit ?? 0)).toISOString();
  const cancelTimer =
    limit === undefined
      ? undefined
      : clock.after(limit, () =>
          running.cancel(
            new RbeeError('REQUEST_TIMEOUT', `the answer was not complete within ${limit / 1000} s`, {
              details: { deadline },
              suggestion: 'allow more time, or ask for fewer tokens',
            }),
          ),
        );
  return () => {
    call.signal.removeEventListener('abort', forward);
    cancelTimer?.();
  };
}

async function answerStream(
  parts: InferenceParts,
  call: InferCall,
  accepted: Accepted,
  stream: EventStream<InferenceEvent>,
): Promise<undefined> {
  const { job, lease, running } = accepted;
  const { clock, modelRef, status, timeouts } = parts;
  const { resume, resumable } = call.body;
  const { id } = running;
  const reader = new Reader({ stream, job: running, clock, stallMs: timeouts.reader_stall });
  const narrate = toNarrator(parts, call, id, (event) => reader.send(event));
  stream.open({ 'X-Request-Id': id });
  if (!resume) {
    const started_at = new Date(clock.now()).toISOString();
    const prompt_ids = resumable ? job.tokens.slice(0, job.promptTokens) : undefined;
    reader.send({ type: 'started', job_id: id, model: modelRef, started_at, prompt_ids });
  }
  narrateStart(narrate, { id, job, lease, slots: status.slotsTotal });
  let index = resume?.next_i ?? 0;
  const emit: Emit = (text, ids) => reader.push(toTokenFrame(text, index++, ids));
  const { figures, end } = lease.generate({ ...toOptions(call), signal: running.signal, emit });
  const stopMetrics = clock.every(METRICS_MS, () => {
    if (reader.behind || running.signal.aborted) return;
    if (figures.promptLeft > 0) narratePrompt(narrate, { id, figures });
    reader.send(toMetrics(id, figures, job, status.vramBytes));
  });
  try {
    const result = await end;
    stopMetrics();
    narrateEnd(narrate, { id, job, result });
    reader.send({ type: 'end', ...toFields(result, job) });
  } catch (error) {
    stopMetrics();
    narrateFailure(narrate, { id, error: toRbeeError(error), tokensOut: figures.tokensOut });
    // The error event is written by whoever catches it.
    reader.flush();
    throw error;
  }
}

async function answerOnce(call: InferCall, { job, lease, running }: Accepted): Promise<Reply<GenerationResult>> {
  const { id } = running;
  let text = '';
  const emit: Emit = (piece) => {
    text += piece;
  };
  const { end } = lease.generate({ ...toOptions(call), signal: running.signal, emit });
  return new Reply({ job_id: id, ...toFields(await end, job), text }, 200, { 'X-Request-Id': id });
}

/** Each event goes to the log with its own correlation id. */
function toNarrator(
  parts: InferenceParts,
  call: InferCall,
  id: string,
  send: (event: InferenceEvent) => void,
): Narrate {
  return createNarrator({
    service: 'llm-worker-rbee',
    clock: parts.clock,
    log: parts.log,
    deliver: send,
    fields: { job_id: id, worker_id: parts.workerId, model_ref: parts.modelRef, correlation_id: call.correlationId },
  });
}

function toOptions({ body }: InferCall) {
  const { seed, resume } = body;
  return {
    stop: body.stop,
    sampling: {
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k,
      minP: body.min_p,
      repetitionPenalty: body.repetition_penalty,
      seed: seed === undefined || !resume ? seed : seedOfResumed(seed, resume.ids.length),
    },
  };
}

function toFields(result: GenerationEnd, job: Job) {
  const resumed = resumedTokens(job);
  return {
    tokens_out: result.tokensOut,
    ...(resumed > 0 ? { resumed_tokens: resumed } : {}),
    decode_time_ms: round(result.decodeMs),
    stop_reason: result.stopReason,
    stop_sequence_matched: result.stopMatched,
    prompt_tokens: result.promptTokens,
    cached_tokens: result.cachedTokens,
    prompt_ms: round(result.promptMs),
    decode_ms: round(result.decodeMs),
  };
}

function toMetrics(id: string, figures: GenerationFigures, job: Job, vramBytes: number): InferenceEvent {
  const generated = figures.tokensOut - resumedTokens(job);
  return {
    type: 'metrics',
    job_id: id,
    tokens_out: figures.tokensOut,
    // The first token comes with the prompt.
    tokens_per_sec: figures.decodeMs > 0 ? round(((generated - 1) * 1000) / figures.decodeMs) : 0,
    decode_time_ms: round(figures.decodeMs),
    vram_bytes: vramBytes,
    prompt_tokens: figures.promptTokens,
    cached_tokens: figures.cachedTokens,
    prompt_ms: round(figures.promptMs),
    decode_ms: round(figures.decodeMs),
  };
}

/** Hundredths are exact enough for milliseconds. */
function round(value: number): number {
  return Math.round(value * 100) / 100;
}
