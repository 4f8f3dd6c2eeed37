import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Backend, MemoryFigures } from '@rbee/protocol';
import type { Llama, LlamaContext, LlamaModel } from 'node-llama-cpp';
import { createContext } from './create-context.js';
import { type EngineLog, EngineLogTap } from './engine-log.js';
import { explainLoadFailure } from './load-error.js';
import { type MeasuredSpeed, measureSpeed } from './measure-speed.js';
import { readModelFile } from './model-file.js';
import { startBackend } from './start-backend.js';

export interface LoadOptions {
  readonly modelPath: string;
  readonly backend: Backend;
  /** Generations at a time. */
  readonly slots: number;
  /** Tokens that one slot holds; left out: what the model was trained on, at most 4096. */
  readonly contextSize?: number | undefined;
  readonly log: EngineLog;
  /** Steady clock in milliseconds. */
  readonly now: () => number;
  readonly onProgress?: (progress: LayerProgress) => void;
  /** Ends loading; the load then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface LayerProgress {
  readonly layersLoaded: number;
  readonly layersTotal: number;
  readonly vramBytes: number;
}

/** Everything that a loaded model consists of. */
export interface LoadedModel {
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  readonly contextSize: number;
  readonly layers: number;
  readonly vramBytes: number;
  /** By the engine's own account; left out when it gives none. */
  readonly memory: MemoryFigures | undefined;
  readonly speed: MeasuredSpeed;
}

/**
 * Loads a model with all its layers on the backend that was asked for, makes the context for all slots, and measures how this machine
 * runs it fastest. Throws BACKEND_UNAVAILABLE, UNSUPPORTED_MODEL_FORMAT, MODEL_LOAD_FAILED, OUT_OF_MEMORY, or
 * CONTEXT_LENGTH_EXCEEDED when a slot is to hold more than the model was trained for.
 */
export async function loadModel(options: LoadOptions): Promise<LoadedModel> {
  const { modelPath, backend, log, signal } = options;
  const file = await readModelFile(modelPath);
  const tap = new EngineLogTap(log);
  signal?.throwIfAborted();
  const llama = await startBackend(backend, tap);
  let layersLoaded = -1;
  const report = (fraction: number): void => {
    const layers = Math.floor(fraction * file.layers);
    if (layers <= layersLoaded) return;
    layersLoaded = layers;
    const vramBytes = backend === 'cpu' ? 0 : Math.round((file.bytes * layers) / file.layers);
    options.onProgress?.({ layersLoaded, layersTotal: file.layers, vramBytes });
  };
  try {
    signal?.throwIfAborted();
    report(0);
    const model = await llama.loadModel({
      modelPath,
      gpuLayers: backend === 'cpu' ? 0 : 'max',
      onLoadProgress: report,
      ...(signal ? { loadSignal: signal } : {}),
    });
    const { context, contextSize, memory } = await createContext(model, tap, options);
    const speed = await measure(llama, context, file.bytes, options);
    signal?.throwIfAborted();
    report(1);
    const vramBytes = model.memoryUsage.vram + context.memoryUsage.vram;
    return { llama, model, context, contextSize, layers: file.layers, vramBytes, memory, speed };
  } catch (failure) {
    await nextTurn(); // the engine's log lines come behind its exception
    const logged = tap.takeErrors();
    // Not waited for: the engine holds on to what it could not load until that is collected as garbage.
    llama.dispose().catch((error: unknown) => log.warn({ error }, 'the engine could not be freed'));
    if (signal?.aborted) throw signal.reason;
    throw explainLoadFailure(modelPath, failure, logged);
  }
}

async function measure(
  llama: Llama,
  context: LlamaContext,
  modelBytes: number,
  options: LoadOptions,
): Promise<MeasuredSpeed> {
  const sequence = context.getSequence();
  const speed = await measureSpeed(llama, sequence, modelBytes, options);
  await sequence.dispose();
  const steps = speed.samples.map((sample) => ({
    threads: sample.threads,
    step_ms: sample.stepMs.map((ms) => Math.round(ms * 100) / 100),
  }));
  options.log.info(
    { threads: speed.threads, chunk: speed.chunk, samples: steps },
    `decoding with ${speed.threads} compute threads`,
  );
  return speed;
}
