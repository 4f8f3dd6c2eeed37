import type { LayerFigures } from './layer-figures.js';
import { type AttentionGroup, readAttentionGroups, readRecurrentElements } from './layer-memory.js';
import { addSums, type TensorSums } from './tensor-tally.js';

/**
 * What of a model's header decides how much memory the model takes; plain JSON. Bytes are of the tensors of all parts, widths
 * are numbers of elements. `estimateMemory` turns it into figures.
 */
export interface MemoryProfile extends TensorSums {
  architecture: string;
  /** Longest context the model was trained for, in tokens; null when the file leaves it out. */
  contextLength: number | null;
  vocabularySize: number;
  embeddingLength: number;
  /** Widest inner layer of the feed-forward network that one token goes through, used experts together. */
  feedForwardLength: number;
  headCount: number;
  /** Elements of all query heads of one token. */
  queryWidth: number;
  /** Layers that keep keys and values, alike ones together. */
  attention: AttentionGroup[];
  /** State of one sequence in all layers that keep a state of fixed size, in 32-bit floats. */
  recurrentElements: number;
}

/** More than any model has: llama.cpp takes at most 512. */
const MOST_LAYERS = 512;

/** The profile of one file; null when the file leaves out what it takes. */
export function toMemoryProfile(figures: LayerFigures, tensors: TensorSums): MemoryProfile | null {
  const { architecture, embeddingLength, layerCount, vocabularySize } = figures;
  if (embeddingLength === null || layerCount === null || vocabularySize === null) return null;
  if (layerCount > MOST_LAYERS) return null;
  const headCount = figures.largest('.attention.head_count') ?? 0;
  const keyLength = figures.largest('.attention.key_length') ?? (headCount > 0 ? embeddingLength / headCount : 0);
  const expertsUsed = figures.largest('.expert_used_count') ?? 0;
  const expertLength = figures.largest('.expert_feed_forward_length') ?? figures.largest('.feed_forward_length') ?? 0;
  return {
    ...tensors,
    architecture,
    contextLength: figures.largest('.context_length'),
    vocabularySize,
    embeddingLength,
    feedForwardLength: Math.max(figures.largest('.feed_forward_length') ?? 0, expertsUsed * expertLength),
    headCount,
    queryWidth: headCount * keyLength,
    attention: readAttentionGroups(figures),
    recurrentElements: readRecurrentElements(figures),
  };
}

/** The profile of a split model: the first part says everything but the tensors of the others. */
export function addParts(profile: MemoryProfile, parts: readonly TensorSums[]): MemoryProfile {
  return { ...profile, ...parts.reduce<TensorSums>(addSums, profile) };
}
