import type { ErrorEvent } from './inference.js';
import { fromErrorBody, RbeeError } from './rbee-error.js';

/** The terminal event that reports an error on a stream. */
export function toErrorEvent(error: RbeeError, correlationId?: string): ErrorEvent {
  const id = error.correlationId ?? correlationId;
  return {
    type: 'error',
    code: error.code,
    message: error.message,
    details: error.suggestion ? { ...error.details, suggestion: error.suggestion } : error.details,
    status: error.status,
    retryable: error.retryable,
    correlation_id: id,
  };
}

/** The error that a terminal event reports; a code that this version does not know becomes INVALID_RESPONSE. */
export function fromErrorEvent(event: ErrorEvent): RbeeError {
  return (
    fromErrorBody(event) ??
    new RbeeError('INVALID_RESPONSE', `a stream ended with the unknown error code ${event.code}: ${event.message}`, {
      suggestion: 'upgrade the older side, so that all processes have one version',
    })
  );
}
