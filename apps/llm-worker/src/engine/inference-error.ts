import { RbeeError, toRbeeError } from '@rbee/protocol';

/** What came up while the engine worked; INFERENCE_FAILED unless it is an error with a code of its own. */
export function toInferenceError(error: unknown): RbeeError {
  const known = toRbeeError(error);
  if (known.code !== 'INTERNAL_ERROR') return known;
  const why = error instanceof Error ? error.message : String(error);
  return new RbeeError('INFERENCE_FAILED', `the engine failed while it generated: ${why}`, {
    suggestion: 'repeat the request; if it fails again, look into the worker log',
    cause: error,
  });
}
