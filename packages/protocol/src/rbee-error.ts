import { type ErrorCode, factsOf, toErrorCode } from './error-catalogue.js';
import type { ErrorEnvelope } from './error-envelope.js';

export interface RbeeErrorOptions {
  /** Facts for programs and for the error block of the terminal; JSON values only, no secrets, no local paths. */
  details?: Record<string, unknown>;
  /** What to do next, if possible with the command to type. */
  suggestion?: string;
  /** Overrides the catalogue where the situation decides. */
  retryable?: boolean;
  /** Id under which the logs of all processes tell about the request that failed. */
  correlationId?: string;
  cause?: unknown;
}

/** The one error class. Recognise it by `code`: bundles may hold the class more than once, so `instanceof` is not reliable. */
export class RbeeError extends Error {
  override readonly name = 'RbeeError';
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;
  readonly suggestion: string | undefined;
  readonly retryable: boolean;
  readonly correlationId: string | undefined;

  constructor(code: ErrorCode, message: string, options: RbeeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.suggestion = options.suggestion;
    this.retryable = options.retryable ?? factsOf(code).retryable === true;
    this.correlationId = options.correlationId;
  }

  /** HTTP status of an answer that carries this error. */
  get status(): number {
    return factsOf(this.code).status ?? 500;
  }
}

/** Whether a caught value is an rbee error, whichever bundle made it. */
export function isRbeeError(value: unknown): value is RbeeError {
  return value instanceof Error && value.name === 'RbeeError' && toErrorCode((value as RbeeError).code) !== undefined;
}

/** Any thrown value as an rbee error: unforeseen ones become INTERNAL_ERROR, which tells the outside nothing but the correlation id. */
export function toRbeeError(value: unknown): RbeeError {
  if (isRbeeError(value)) return value;
  return new RbeeError('INTERNAL_ERROR', 'something unforeseen went wrong', {
    suggestion: 'look for the correlation id in the logs: rbee-keeper logs --node localhost',
    cause: value,
  });
}

/** The envelope that reports an error; the suggestion travels in the details. */
export function toErrorEnvelope(error: RbeeError, correlationId: string): ErrorEnvelope {
  const aliases = factsOf(error.code).aliases;
  return {
    error: {
      code: error.code,
      message: error.message,
      details: error.suggestion ? { ...error.details, suggestion: error.suggestion } : error.details,
      retryable: error.retryable,
      correlation_id: error.correlationId ?? correlationId,
      ...(aliases ? { aliases: [...aliases] } : {}),
    },
  };
}

/** The error in an envelope's `error` field or in an `error` event; `undefined` when the code is unknown. */
export function fromErrorBody(body: {
  code: string;
  message: string;
  details?: Record<string, unknown> | null | undefined;
  retryable?: boolean | null | undefined;
  correlation_id?: string | null | undefined;
}): RbeeError | undefined {
  const code = toErrorCode(body.code);
  if (!code) return undefined;
  const { suggestion, ...details } = body.details ?? {};
  return new RbeeError(code, body.message, {
    details,
    ...(typeof suggestion === 'string' ? { suggestion } : {}),
    ...(body.retryable == null ? {} : { retryable: body.retryable }),
    ...(body.correlation_id ? { correlationId: body.correlation_id } : {}),
  });
}
