import { randomUUID } from 'node:crypto';
import { RbeeError, toErrorEnvelope, toRbeeError } from '@rbee/protocol';
import type { Request, Response } from 'express';
import { pathOf } from './authenticate.js';
import { toTooLarge } from './limits.js';
import type { Logger } from './logger.js';
import { redact } from './redact.js';

/** The coded error for what express reports when it cannot read a request; anything else is returned as it is. */
export function translateBodyError(error: unknown, limit: number): unknown {
  const { type, status } = error as { type?: string; status?: number };
  if (type === 'entity.too.large') return toTooLarge(limit);
  if (type === 'entity.parse.failed') return new RbeeError('INVALID_REQUEST', 'the body is not valid JSON');
  if (error instanceof URIError || (typeof type === 'string' && status !== undefined && status < 500)) {
    return new RbeeError('INVALID_REQUEST', 'the request cannot be read', { details: { reason: type ?? 'bad_path' } });
  }
  return error;
}

/** Answers with the error envelope; an answer that has begun can only be broken off. */
export function renderError(caught: unknown, request: Request, response: Response, log: Logger): void {
  const error = toRbeeError(caught);
  const correlationId = (response.locals.correlationId as string | undefined) ?? randomUUID();
  logFailure(error, log.with({ correlation_id: correlationId }), pathOf(request));
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // The rest of what comes too slowly is not waited for.
  if (error.status === 408 && !request.complete) response.setHeader('Connection', 'close');
  if (error.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
  if (error.status === 429 || (error.status === 503 && (error.retryable || error.code === 'QUEUE_FULL'))) {
    // The details may come from another service: only a number may reach a header.
    const seconds = Math.ceil(Number(error.details.retry_after_seconds));
    response.setHeader('Retry-After', String(seconds >= 0 && seconds < 86_400 ? seconds : 1));
  }
  const sound = isJson(error.details) ? error : withoutDetails(error);
  const envelope = toErrorEnvelope(sound, correlationId);
  // Readers of the older form look for the slot figures beside the code.
  const { slots_total, slots_busy } = sound.details;
  const slots = error.code === 'ALL_SLOTS_BUSY' ? { slots_total, slots_busy } : {};
  // The error may have come up for another request that shared the work: this answer bears the id of its own.
  const body = { error: { ...envelope.error, correlation_id: correlationId, ...slots } };
  response.status(error.status).type('json').send(toPublicJson(body));
}

/**
 * What leaves the process of an error, as JSON without keys, tokens and passwords: they may stand in the message of a program
 * or of another service.
 */
export function toPublicJson(value: unknown): string {
  const clean = (_name: string, field: unknown) => (typeof field === 'string' ? redact(field) : field);
  // Again as a whole: beside the name of a field, a value shows for what it is.
  return redact(JSON.stringify(value, clean));
}

/** Details that are not JSON are a mistake of the thrower; the code must come through nevertheless. */
function withoutDetails({ code, message, retryable }: RbeeError): RbeeError {
  return new RbeeError(code, message, { retryable });
}

function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    // A ring or a BigInt: the answer to the question, not a failure.
    return false;
  }
}

/**
 * Logs a failed request; failures of the service itself with their stack. `cause_correlation_id` is the id under which
 * other services logged the failure.
 */
export function logFailure(error: RbeeError, log: Logger, path: string): void {
  const fields = {
    error_code: error.code,
    path,
    status: error.status,
    ...(error.correlationId === undefined ? {} : { cause_correlation_id: error.correlationId }),
  };
  if (error.code === 'INTERNAL_ERROR') {
    log.error({ ...fields, error: error.cause ?? error }, 'a request failed unexpectedly');
  } else if (error.status === 500) {
    log.error({ ...fields, error }, `a request failed: ${error.message}`);
  } else {
    log.info(fields, `a request failed: ${error.message}`);
  }
}
