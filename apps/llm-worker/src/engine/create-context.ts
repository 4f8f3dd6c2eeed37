import { setImmediate as nextTurn } from 'node:timers/promises';
import { type MemoryFigures, RbeeError } from '@rbee/protocol';
import { type LlamaContext, type LlamaContextOptions, LlamaLogLevel, type LlamaModel } from 'node-llama-cpp';
import { MAX_CHUNK } from './chunk-size.js';
import type { EngineLogTap } from './engine-log.js';
import { hearsLog } from './start-backend.js';
import { toUsedMemory } from './used-memory.js';

export interface ContextRequest {
  /** Generations at a time. */
  readonly slots: number;
  /** Tokens that one slot holds; left out: what the model was trained on, at most 4096. */
  readonly contextSize?: number | undefined;
  readonly signal?: AbortSignal;
}

export interface CreatedContext {
  readonly context: LlamaContext;
  /** Tokens that one slot holds. */
  readonly contextSize: number;
  /** What the model takes with this context; left out when the engine does not say it. */
  readonly memory: MemoryFigures | undefined;
}

/** Contexts of a long-context model would take more memory than the model itself; who needs more asks for it (`--ctx`). */
const DEFAULT_CONTEXT_CAP = 4096;

/** Makes the context for all slots. Throws CONTEXT_LENGTH_EXCEEDED, or what the engine throws. */
export async function createContext(
  model: LlamaModel,
  tap: EngineLogTap,
  { slots, contextSize: asked, signal }: ContextRequest,
): Promise<CreatedContext> {
  checkAskedContext(model, asked);
  const wanted = asked ?? Math.min(model.trainContextSize, DEFAULT_CONTEXT_CAP);
  tap.takeBuffers();
  const context = await createHeard(model, {
    sequences: slots,
    contextSize: wanted,
    batchSize: Math.max(MAX_CHUNK, slots),
    // Flash attention makes small models on a CPU slower, the more so the longer the answer; a GPU gains by it.
    flashAttention: model.llama.gpu === false ? false : 'auto',
    threads: { ideal: model.llama.cpuMathCores, min: 1 },
    failedCreationRemedy: false,
    ...(signal ? { createSignal: signal } : {}),
  });
  const contextSize = Math.min(wanted, context.contextSize);
  const usage = { model: model.memoryUsage, context: context.memoryUsage, buffers: tap.takeBuffers() };
  return { context, contextSize, memory: toUsedMemory({ ...usage, contextSize, slots }) };
}

/** On this level the engine tells how large its buffers are. Its log lines come behind its answer. */
async function createHeard(model: LlamaModel, options: LlamaContextOptions): Promise<LlamaContext> {
  const { llama } = model;
  const { logLevel } = llama;
  if (hearsLog(llama)) llama.logLevel = LlamaLogLevel.info;
  try {
    return await model.createContext(options);
  } finally {
    await nextTurn();
    llama.logLevel = logLevel;
  }
}

function checkAskedContext({ trainContextSize }: LlamaModel, asked: number | undefined): void {
  if (asked === undefined || asked <= trainContextSize) return;
  throw new RbeeError(
    'CONTEXT_LENGTH_EXCEEDED',
    `a context of ${asked} tokens was asked for, the model was trained for ${trainContextSize}`,
    {
      details: { required: asked, context_size: trainContextSize },
      suggestion: `ask for at most ${trainContextSize} tokens (--ctx ${trainContextSize})`,
    },
  );
}
