import { z } from 'zod';
import { optional } from './field.js';

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

/** One row of a hive's model catalog. */
export const modelSchema = z.object({
  /** Slug of file and quantization, for example `tinyllama-q4`. */
  id: z.string(),
  provider: z.enum(['hf', 'local', 'builtin']),
  reference: z.string(),
  /** The reference as a user writes it. */
  model_ref: z.string(),
  local_path: z.string(),
  size_bytes: z.number(),
  downloaded_at_unix: z.number(),
  variant: optional(z.string()),
  /** SHA-256 of the file, lower-case hexadecimal. */
  digest: optional(z.string()),
  last_used_unix: optional(z.number()),
  facts: optional(ggufFactsSchema),
});
export type Model = z.output<typeof modelSchema>;
