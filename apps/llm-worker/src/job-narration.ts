import { formatDuration, type Narrate } from '@rbee/daemon-kit';
import type { RbeeError, StopReason } from '@rbee/protocol';
import type { Job, Lease } from './engine/engine.js';
import type { GenerationEnd, GenerationFigures } from './engine/generation.js';

const ENDINGS: Record<StopReason, string> = {
  EOS: 'the model ended',
  MAX_TOKENS: 'the token limit was reached',
  STOP_SEQUENCE: 'a stop string came',
  CONTEXT_FULL: 'the context is full',
};

/** Tells that a job has its slot, and from where it starts. */
export function narrateStart(narrate: Narrate, facts: { id: string; job: Job; lease: Lease; slots: number }): void {
  const { id: target, job, lease, slots } = facts;
  narrate({ actor: 'tokenizer', action: 'tokenize', target, human: `the prompt has ${countTokens(job.promptTokens)}` });
  const cache =
    lease.reusable === 0 ? 'starting from an empty cache' : `reusing ${countTokens(lease.reusable)} from the cache`;
  narrate({ actor: 'inference-backend', action: 'cache_reset', target, human: cache });
  const bound = job.maxTokens === undefined ? '' : ` up to ${countTokens(job.maxTokens)}`;
  const human = `generating${bound} in slot ${lease.slot + 1} of ${slots}`;
  narrate({ actor: 'inference-backend', action: 'inference_start', target, human });
}

/** Tells how far a long prompt has been read. */
export function narratePrompt(narrate: Narrate, { id, figures }: { id: string; figures: GenerationFigures }): void {
  const { promptTokens, promptLeft } = figures;
  const human = `reading the prompt: ${promptTokens - promptLeft} of ${promptTokens} tokens`;
  narrate({ actor: 'inference-backend', action: 'inference_start', target: id, human });
}

/** Tells how a job ended. */
export function narrateEnd(narrate: Narrate, facts: { id: string; job: Job; result: GenerationEnd }): void {
  const { id, job, result } = facts;
  const { tokensOut, promptMs, decodeMs, stopReason } = result;
  const ms = promptMs + decodeMs;
  const resumed = resumedTokens(job);
  const more = resumed > 0 ? ' more' : '';
  narrate({
    actor: 'inference-backend',
    action: 'inference_complete',
    target: id,
    human: `generated ${countTokens(tokensOut - resumed, more)} in ${formatDuration(ms)}: ${ENDINGS[stopReason]}`,
    duration_ms: Math.round(ms),
  });
}

/** Tells that a job was cancelled or failed. */
export function narrateFailure(narrate: Narrate, facts: { id: string; error: RbeeError; tokensOut: number }): void {
  const { id, error, tokensOut } = facts;
  const cancelled = error.code === 'CANCELLED' || error.code === 'REQUEST_TIMEOUT';
  narrate({
    actor: 'inference-backend',
    action: cancelled ? 'cancelled' : 'error',
    target: id,
    level: cancelled ? 'info' : 'error',
    human: `${cancelled ? 'stopped' : 'failed'} after ${countTokens(tokensOut)}: ${error.message}`,
    error_kind: error.code.toLowerCase(),
  });
}

/** Tokens of the answer that a job began with, made by another worker. */
export function resumedTokens(job: Job): number {
  return job.tokens.length - job.promptTokens;
}

function countTokens(count: number, more = ''): string {
  return count === 1 ? `1${more} token` : `${count}${more} tokens`;
}
