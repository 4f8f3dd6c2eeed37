/** Processor families for which the engine has weight layouts of its own. */
export type ProcessorFamily = 'x64' | 'arm64';

/**
 * Tensor types (ggml ids) that the engine copies into another layout when it runs them on the CPU, after
 * `ggml_repack_get_optimal_repack_type` of llama.cpp. Between other tensors, what was copied stays mapped as well. A processor
 * without AVX2, or without the dot product of ARM, copies nothing: then the figure is too large, never too small.
 */
const REPACKED_TYPES: Record<ProcessorFamily, ReadonlySet<number>> = {
  // Q4_0, Q4_K, IQ4_NL, MXFP4; Q2_K with AVX-512.
  x64: new Set([2, 10, 12, 20, 39]),
  // Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_NL, MXFP4, Q1_0.
  arm64: new Set([2, 8, 12, 13, 14, 20, 39, 40]),
};

/** Rows of a matrix are woven together by the eight; on ARM some types by the four. */
const ROWS_WOVEN = 8;

/** A tensor as the header describes it. */
export interface TensorShape {
  name: string;
  dimensions: readonly number[];
  /** ggml id. */
  type: number;
}

/** Whether the engine copies a tensor on such a processor: matrices that are multiplied with, experts too. */
export function isRepacked({ name, dimensions, type }: TensorShape, family: ProcessorFamily): boolean {
  if (!REPACKED_TYPES[family].has(type) || !name.endsWith('.weight')) return false;
  const matrices = name.includes('_exps.') ? 3 : 2;
  return dimensions.length === matrices && (dimensions[1] ?? 0) % ROWS_WOVEN === 0 && !isLookedUp(name);
}

/** Tables of which rows are taken; nothing is multiplied with them. */
function isLookedUp(name: string): boolean {
  return /^(token_embd|position_embd|token_types|per_layer_token_embd)\./.test(name);
}
