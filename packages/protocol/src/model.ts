import { z } from 'zod';
import { optional } from './field.js';
import { patternText } from './text.js';

/** Facts of a GGUF file, read from its header before loading. */
export const ggufFactsSchema = z.object({
  architecture: z.string(),
  /** Number of layers (`<architecture>.block_count`). */
  layers: z.number().int(),
  /** Longest context the model was trained for, in tokens. */
  context_length: z.number().int(),
  vocab_size: z.number().int(),
  eos_token_id: optional(z.number().int()),
  /** For example `Q4_K_M`. */
  quantization: z.string(),
  has_chat_template: z.boolean(),
});
export type GgufFacts = z.output<typeof ggufFactsSchema>;

/** SHA-256, lower-case hexadecimal. */
export const digestSchema = patternText('must be a SHA-256 in lower-case hexadecimal', /^[0-9a-f]{64}$/, 64);

/** Id of a row of a catalog. */
export const modelIdSchema = patternText('must be the id of a model', /^\w[\w.-]*$/, 200);

const bytes = z.number().min(0);

/**
 * Memory of one loaded model in bytes, wherever its backend keeps it. Total is the sum of the three parts; what the
 * process itself needs comes on top.
 */
export const memoryFiguresSchema = z.object({
  weights_bytes: bytes,
  /** Keys and values of all slots. */
  kv_cache_bytes: bytes,
  /** Buffers for intermediate results, and the output of the model. */
  compute_bytes: bytes,
  total_bytes: bytes,
  /** Context of one slot in tokens. */
  context_size: z.number().int().min(0),
  slots: z.number().int().min(0),
});
export type MemoryFigures = z.output<typeof memoryFiguresSchema>;

/** One file of a model. */
export const modelFileSchema = z.object({
  /** File name, without a folder. */
  name: z.string(),
  size_bytes: z.number().int(),
  digest: optional(digestSchema),
});
export type ModelFile = z.output<typeof modelFileSchema>;

/** One row of a hive's model catalog. */
export const modelSchema = z.object({
  /** Slug of file and quantization, for example `tinyllama-q4`. */
  id: z.string(),
  provider: z.enum(['hf', 'local', 'builtin']),
  reference: z.string(),
  /** The reference as a user writes it. */
  model_ref: z.string(),
  /** Of a split model, its first file. */
  local_path: z.string(),
  /** All files together. */
  size_bytes: z.number(),
  downloaded_at_unix: z.number(),
  variant: optional(z.string()),
  /**
   * SHA-256 of the file. Of a split model, the SHA-256 of the digests of its files, in lower-case hexadecimal, one after
   * the other without anything between them.
   */
  digest: optional(digestSchema),
  last_used_unix: optional(z.number()),
  facts: optional(ggufFactsSchema),
  /** In the order of their parts. */
  files: optional(z.array(modelFileSchema)),
  /** What a worker needs by the header, at the hive's usual context and slots, and what the newest worker really took. */
  memory: optional(z.object({ estimated: memoryFiguresSchema, used: optional(memoryFiguresSchema) })),
});
export type Model = z.output<typeof modelSchema>;

/** One file or set of files of a hub repository that can be run. */
export const modelVariantSchema = z.object({
  /** What stands behind the repository's name in a reference: a quantization, or a file name where that is not enough. */
  variant: z.string(),
  /** The reference that means exactly this variant. */
  model_ref: z.string(),
  files: z.array(modelFileSchema),
  size_bytes: z.number(),
  /** Whether it is taken when no variant is named. */
  default: z.boolean(),
  /** Whether the node has it already. */
  present: z.boolean(),
});
export type ModelVariant = z.output<typeof modelVariantSchema>;
