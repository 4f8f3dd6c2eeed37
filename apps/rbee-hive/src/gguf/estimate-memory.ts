import type { Backend, MemoryFigures } from '@rbee/protocol';
import type { AttentionGroup } from './layer-memory.js';
import type { MemoryProfile } from './memory-profile.js';
import type { ProcessorFamily } from './repacking.js';

/** How a worker will run a model. */
export interface MemoryRequest {
  /** Tokens of one slot; left out: what the worker takes by itself. */
  contextSize?: number | undefined;
  /** Left out: what the worker takes by itself. */
  slots?: number | undefined;
  /** Default: cpu. */
  backend?: Backend | undefined;
  /** Tokens evaluated in one step at most; default: as the worker creates its context. */
  batchSize?: number | undefined;
  /** Default: this machine's. */
  processor?: ProcessorFamily | undefined;
}

/** Slots of a worker that was not told otherwise. */
export const USUAL_SLOTS = 4;
/** Context of a slot that was not told otherwise, unless the model was trained for less. */
const USUAL_CONTEXT_CAP = 4096;
const USUAL_BATCH = 512;

/** The engine rounds the cells of a sequence up to this. */
const CELL_PADDING = 256;
const F16 = 2;
const F32 = 4;
const I64 = 8;

/** Context in tokens that a worker gives each slot by itself. */
export function usualContextSize(contextLength: number | null): number {
  return Math.min(contextLength ?? USUAL_CONTEXT_CAP, USUAL_CONTEXT_CAP);
}

/**
 * What a model will take, by the rules of llama.cpp as node-llama-cpp uses it: weights mapped and partly copied into a layout
 * for the processor, 16-bit keys and values for each slot by itself, and one set of buffers that is sized for the largest step.
 * Compared with what the engine reports, it is within 10 % for models of the common kinds, and rather too much than too little.
 */
export function estimateMemory(profile: MemoryProfile, request: MemoryRequest = {}): MemoryFigures {
  const { contextSize = usualContextSize(profile.contextLength), slots = USUAL_SLOTS, backend = 'cpu' } = request;
  // With a sliding window the engine takes one token more.
  const slides = profile.attention.some(({ window }) => window !== null);
  const batch = Math.max(request.batchSize ?? USUAL_BATCH, slots) + (slides ? 1 : 0);
  const cells = padded(padded(contextSize * slots) / slots);
  const step = Math.ceil(Math.min(cells * slots, batch) / slots) * slots;
  const shape: Shape = { slots, batch, cells, step, onGpu: backend !== 'cpu' };
  const processor = request.processor ?? (process.arch === 'arm64' ? 'arm64' : 'x64');
  const weights = Math.round(weightBytes(profile, shape, processor));
  const cache = Math.round(cacheBytes(profile, shape));
  const compute = Math.round(computeBytes(profile, shape));
  return {
    weights_bytes: weights,
    kv_cache_bytes: cache,
    compute_bytes: compute,
    total_bytes: weights + cache + compute,
    context_size: contextSize,
    slots,
  };
}

interface Shape {
  slots: number;
  batch: number;
  /** Tokens that the cache of one slot holds. */
  cells: number;
  /** Tokens that are evaluated at once at most. */
  step: number;
  /** All layers are; attention is computed without a matrix of all scores there. */
  onGpu: boolean;
}

function weightBytes(profile: MemoryProfile, { onGpu }: Shape, processor: ProcessorFamily): number {
  const { spanBytes, hasOutput } = profile;
  if (onGpu) return spanBytes + (hasOutput ? 0 : profile.tokenEmbeddingBytes);
  const output = hasOutput ? 0 : profile.tiedRepackedBytes[processor];
  return profile.mappedBytes[processor] + profile.repackedBytes[processor] + output;
}

function cacheBytes(profile: MemoryProfile, shape: Shape): number {
  const { attention, recurrentElements } = profile;
  const widest = widestValue(attention);
  const perSlot = attention.reduce((sum, group) => {
    // Values are kept transposed on the CPU, all layers with the same number of rows.
    const valueWidth = shape.onGpu || group.valueWidth === 0 ? group.valueWidth : widest;
    return sum + group.layers * cellsOf(group, shape) * (group.keyWidth + valueWidth) * F16;
  }, 0);
  return shape.slots * (perSlot + recurrentElements * F32);
}

/** The engine plans its buffers for the largest step; of the steps below, they are never needed together. */
function computeBytes(profile: MemoryProfile, shape: Shape): number {
  const { attention, vocabularySize, embeddingLength, feedForwardLength, queryWidth, headCount } = profile;
  const { slots, batch, step, onGpu } = shape;
  const row = step * F32;
  const state = row * embeddingLength;
  const windows = new Set(attention.map(({ window }) => window));
  // Each token of a step is compared with the cache of its own slot.
  const compared = [...windows].map((window) => cellsOf({ window }, shape));
  const masks = compared.reduce((sum, cells) => sum + cells * step * (onGpu ? F16 : F32), 0);
  // Where each value goes in a transposed cache is told element by element.
  const targets = windows.size * step * I64 * (onGpu ? 1 : widestValue(attention));
  const scores = onGpu ? 0 : Math.max(0, ...compared) * row * headCount;
  const attending = scores + 2 * row * Math.max(queryWidth, embeddingLength) + 3 * state + masks + targets;
  const feeding = 3 * row * feedForwardLength + 3 * state + masks + targets;
  const answering = Math.min(step, batch) * F32 * vocabularySize + 3 * state;
  // What the host hands over to a GPU lies in the memory of both.
  const handedOver = onGpu ? masks + state : 0;
  const answers = slots * vocabularySize * F32;
  return Math.max(attending, feeding, answering) + handedOver + answers;
}

/** Tokens that one slot's cache of such a layer holds: its window and a step more, or all. */
function cellsOf({ window }: Pick<AttentionGroup, 'window'>, { cells, batch }: Shape): number {
  return window === null ? cells : padded(Math.min(cells, window + batch));
}

function widestValue(attention: readonly AttentionGroup[]): number {
  return Math.max(0, ...attention.map(({ valueWidth }) => valueWidth));
}

function padded(cells: number): number {
  return Math.ceil(cells / CELL_PADDING) * CELL_PADDING;
}
