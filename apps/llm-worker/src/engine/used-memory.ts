import type { MemoryFigures } from '@rbee/protocol';
import type { BufferLine } from './buffer-line.js';

/** What the engine says through its interface, in bytes: exact, but of a context only as a whole. */
interface MemoryUsage {
  readonly ram: number;
  readonly vram: number;
}

export interface MemoryFacts {
  readonly model: MemoryUsage;
  readonly context: MemoryUsage;
  /** Buffers that were announced while the context was made. */
  readonly buffers: readonly BufferLine[];
  readonly contextSize: number;
  readonly slots: number;
}

/** Keys and values; the state of recurrent layers; that of compressed attention. */
const CACHE_KINDS: ReadonlySet<string> = new Set(['KV', 'RS', 'state']);

/**
 * What a loaded model takes, by the engine's own account. Only its log tells the caches apart from the other buffers of a
 * context, and tells of the one for the output at all; without those lines there are no figures.
 */
export function toUsedMemory({ model, context, buffers, contextSize, slots }: MemoryFacts): MemoryFigures | undefined {
  const sum = (wanted: (kind: string) => boolean): number =>
    buffers.reduce((bytes, buffer) => bytes + (wanted(buffer.kind) ? buffer.bytes : 0), 0);
  const cache = sum((kind) => CACHE_KINDS.has(kind));
  const whole = context.ram + context.vram;
  if (cache === 0 || cache > whole) return undefined;
  const weights = model.ram + model.vram;
  const compute = whole - cache + sum((kind) => kind === 'output');
  return {
    weights_bytes: weights,
    kv_cache_bytes: cache,
    compute_bytes: compute,
    total_bytes: weights + cache + compute,
    context_size: contextSize,
    slots,
  };
}
