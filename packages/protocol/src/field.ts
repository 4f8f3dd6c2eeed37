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
  const together = z.unknown().superRefine((body, context) => {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
    check(body as Record<string, unknown>, (field, message) =>
      context.addIssue({ code: 'custom', path: [field], message }),
    );
  });
  // Both sides of an intersection are always run; what this side returns adds nothing to the other one's result.
  return z.intersection(
    schema,
    together.transform(() => ({})),
  );
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

function toFieldError(issue: z.core.$ZodIssue): FieldError & { code?: ErrorCode } {
  const params =
    issue.code === 'custom' ? (issue.params as { code?: ErrorCode; reason?: string } | undefined) : undefined;
  return {
    field: issue.path.join('.') || '(body)',
    constraint: params?.reason ?? issue.code,
    message: issue.message,
    ...(params?.reason ? { reason: params.reason } : {}),
    ...(params?.code ? { code: params.code } : {}),
  };
}

/**
 * The 400 error for a value that a schema refused: every bad field at once in `details.errors`. When all of them report
 * the same specific code, for example INVALID_MODEL_REF, the error has that code, otherwise INVALID_REQUEST.
 */
export function toValidationError(error: z.ZodError, what: string): RbeeError {
  const found = error.issues.map(toFieldError);
  const [first] = found;
  const code = first?.code && found.every((item) => item.code === first.code) ? first.code : 'INVALID_REQUEST';
  const errors = found.map(({ code: _code, ...fieldError }) => fieldError);
  const message = errors.map((item) => `${item.field}: ${item.message}`).join('; ');
  return new RbeeError(code, code === 'INVALID_REQUEST' ? `${what} is not valid: ${message}` : message, {
    details: { errors, ...(first?.reason ? { reason: first.reason } : {}) },
  });
}

/** Parses untrusted input; throws the validation error of `toValidationError`. */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown, what: string): z.output<T> {
  const parsed = schema.safeParse(input);
  if (!parsed.success) throw toValidationError(parsed.error, what);
  return parsed.data;
}
