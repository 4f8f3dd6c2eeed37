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

/** The schema library's wording of a number out of its range, in the words of all other messages. */
const PHRASES: readonly (readonly [RegExp, string])[] = [
  [/^Too small: expected number to be >=(.+)$/, 'must be at least $1'],
  [/^Too small: expected number to be >(.+)$/, 'must be more than $1'],
  [/^Too big: expected number to be <=(.+)$/, 'must be at most $1'],
  [/^Too big: expected number to be <(.+)$/, 'must be less than $1'],
  [/^Invalid input: expected int, received number$/, 'must be a whole number'],
];

function toPhrase(message: string): string {
  const phrase = PHRASES.reduce((text, [pattern, words]) => text.replace(pattern, words), message);
  return phrase.charAt(0).toLowerCase() + phrase.slice(1);
}
