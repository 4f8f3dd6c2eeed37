import { z } from 'zod';
import { optional } from './field.js';

/** One event written for the user: who does what to what, in words. */
export const narrationSchema = z.object({
  type: z.literal('narration'),
  /** Part of the system that speaks, for example `rbee-hive` or `model-loader`. ASCII. */
  actor: z.string(),
  /** What it does, snake_case, for example `worker_start`. ASCII. */
  action: z.string(),
  /** What it is done to: an id, a model reference, an address. */
  target: z.string(),
  /** The sentence for the user: present tense while running, past tense when done, at most 100 characters. */
  human: z.string(),
  level: optional(z.enum(['debug', 'info', 'warn', 'error'])),
  worker_id: optional(z.string()),
  model_ref: optional(z.string()),
  device: optional(z.string()),
  duration_ms: optional(z.number()),
  error_kind: optional(z.string()),
  correlation_id: optional(z.string()),
  job_id: optional(z.string()),
  /** `<service>@<version>`, added by the process that emits the event. */
  emitted_by: optional(z.string()),
  /** Milliseconds since the epoch, added by the process that emits the event. */
  emitted_at_ms: optional(z.number()),
});
export type Narration = z.output<typeof narrationSchema>;
