import { z } from 'zod';
import { fromErrorBody, type RbeeError } from './rbee-error.js';

// Apart from the error class: a process that only throws errors need not load a library of schemas.
const errorBody = z.object({
  code: z.string(),
  message: z.string(),
  details: z.record(z.string(), z.unknown()).nullish(),
  retryable: z.boolean().nullish(),
  correlation_id: z.string().nullish(),
  aliases: z.array(z.string()).nullish(),
});

/** Body of every answer that is not 2xx. */
export const errorEnvelopeSchema = z.object({ error: errorBody });
export type ErrorEnvelope = z.infer<typeof errorEnvelopeSchema>;

/** The error that a peer's envelope reports, or `undefined` when the body is no envelope with a known code. */
export function fromErrorEnvelope(body: unknown): RbeeError | undefined {
  const parsed = errorEnvelopeSchema.safeParse(body);
  return parsed.success ? fromErrorBody(parsed.data.error) : undefined;
}
