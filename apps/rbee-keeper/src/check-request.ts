import { queenRoutes, RbeeError, type Route, toValidationError } from '@rbee/protocol';

interface FieldError {
  readonly field: string;
  readonly message: string;
}

/**
 * Checks a request as the queen will, before one is started for it. `flags` names the flag of each field whose name is
 * another one. Throws the validation error.
 */
export function checkRequest(
  route: keyof typeof queenRoutes,
  input: unknown,
  flags: Readonly<Record<string, string>> = {},
): void {
  const { query, body }: Route = queenRoutes[route];
  const parsed = (query ?? body)?.safeParse(input);
  if (parsed?.error) throw withFlags(toValidationError(parsed.error, 'the request'), flags);
}

/** A validation error that speaks of flags instead of fields. */
function withFlags(error: RbeeError, flags: Readonly<Record<string, string>>): RbeeError {
  const faults = error.details.errors as readonly FieldError[];
  const message = faults.map(({ field, message: why }) => `${toFlag(field, flags)}: ${toPhrase(why)}`).join('; ');
  return new RbeeError(error.code, message, { details: error.details });
}

function toFlag(field: string, flags: Readonly<Record<string, string>>): string {
  const name = field.split('.')[0] ?? field;
  return flags[name] ?? `--${name.replaceAll('_', '-')}`;
}

function toPhrase(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}
