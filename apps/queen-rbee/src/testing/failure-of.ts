import { isRbeeError, type RbeeError } from '@rbee/protocol';

/** The error that something fails with. Throws when it succeeds, or fails with another kind of error. */
export async function failureOf(promise: Promise<unknown>): Promise<RbeeError> {
  const error = await promise.then(
    (value) => new Error(`it succeeded: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!isRbeeError(error)) throw error;
  return error;
}
