import { z } from 'zod';
import type { ErrorCode } from './error-catalogue.js';
import { RbeeError } from './rbee-error.js';

/** An optional field for which a missing value and `null` mean the same. */
export function optional<T extends z.ZodType>(schema: T) {
  // The outer optional() lets the key be left out in the output type as well.
  return schema
    .nullish()
    .transform((value) => (value === null ? undefined : value) as z.output<T> | undefined)
    .optional();
}

/** An optional field with a default; `null` takes the default as well. */
export function withDefault<T extends z.ZodType>(schema: T, value: z.output<T>) {
  return schema.nullish().transform((given) => (given ?? value) as z.output<T>);
}

/** Renames older field names before an object is parsed; the current name wins where both are given. */
export function acceptAliases<T extends z.ZodType>(aliases: Record<string, string>, schema: T) {
  return z.preprocess((input: z.input<T>) => {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) return input;
    const body = { ...input } as Record<string, unknown>;
    for (const [older, current] of Object.entries(aliases)) {
      if (body[older] !== undefined && body[current] == null) body[current] = body[older];
      delete body[older];
    }
    return body;
  }, schema);
}

/** Reports a field of a body as wrong. */
export type Refuse = (field: string, message: string) => void;

/** Adds a check of several fields at once. It sees the body as it came and runs also when single fields are wrong, so that everything is reported. */
export function checkTogether<T extends z.ZodType>(
  schema: T,
  check: (body: Readonly<Record<string, unknown>>, refuse: Refuse) => void,
) {
  // What this side returns adds nothing to the other one's result, also when it has found something: an intersection of two
  // different values would be an exception.
  const together = z.unknown().transform((body, context) => {
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) {
      check(body as Record<string, unknown>, (field, message) =>
        context.addIssue({ code: 'custom', path: [field], message }),
      );
    }
    return {};
  });
  // Both sides of an intersection are always run.
  return z.intersection(schema, together);
}

/** A check that reports its own error code and a machine-readable reason; the rejected value is never echoed. */
export function rejectWith<T>(code: ErrorCode, message: string, findReason: (value: T) => string | undefined) {
  return (value: T, context: z.core.$RefinementCtx<T>) => {
    const reason = findReason(value);
    if (reason) context.addIssue({ code: 'custom', message, params: { code, reason } });
  };
}

interface FieldError {
  field: string;
  constraint: string;
  message: string;
  reason?: string;
}

/** The name of a field in one answer must not be a way to have a text of one's own repeated. */
const FIELD_NAME = /^\w{1,64}$/;

function fieldOf(issue: z.core.$ZodIssue): string {
  // Of a key that is not allowed, the last part of the path is that key.
  const path = issue.code === 'invalid_key' ? issue.path.slice(0, -1) : issue.path;
  return path.map((part) => (FIELD_NAME.test(String(part)) ? String(part) : '*')).join('.') || '(body)';
}

function paramsOf(issue: z.core.$ZodIssue): { code?: ErrorCode; reason?: string } | undefined {
  return issue.code === 'custom' ? issue.params : undefined;
}

function toFieldError(issue: z.core.$ZodIssue): FieldError & { code?: ErrorCode } {
  const fault = issue.code === 'invalid_key' ? issue.issues[0] : undefined;
  const params = paramsOf(issue);
  const reason = params?.reason ?? (fault && paramsOf(fault)?.reason);
  return {
    field: fieldOf(issue),
    constraint: reason ?? issue.code,
    message: fault ? `each key ${fault.message}` : issue.message,
    ...(reason ? { reason } : {}),
    ...(params?.code ? { code: params.code } : {}),
  };
}

/** A body can have a fault in each of its bytes; an answer tells of so many. */
const MAX_REPORTED = 50;

/**
 * The 400 error for a value that a schema refused: every bad field at once in `details.errors`, of very many the first and in
 * `details.omitted` the number of the others. When all of them report the same specific code, for example INVALID_MODEL_REF, the
 * error has that code, otherwise INVALID_REQUEST.
 */
export function toValidationError(error: z.ZodError, what: string): RbeeError {
  const found = error.issues.slice(0, MAX_REPORTED).map(toFieldError);
  const omitted = error.issues.length - found.length;
  const [first] = found;
  const code = first?.code && found.every((item) => item.code === first.code) ? first.code : 'INVALID_REQUEST';
  const errors = found.map(({ code: _code, ...fieldError }) => fieldError);
  const listed = errors.map((item) => `${item.field}: ${item.message}`).join('; ');
  const message = omitted > 0 ? `${listed}; and ${omitted} more` : listed;
  return new RbeeError(code, code === 'INVALID_REQUEST' ? `${what} is not valid: ${message}` : message, {
    details: { errors, ...(omitted > 0 ? { omitted } : {}), ...(first?.reason ? { reason: first.reason } : {}) },
  });
}

/** Parses untrusted input; throws the validation error of `toValidationError`. */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown, what: string): z.output<T> {
  const parsed = schema.safeParse(input);
  if (!parsed.success) throw toValidationError(parsed.error, what);
  return parsed.data;
}
