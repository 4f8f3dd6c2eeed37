import { BACKENDS, queenRoutes, RbeeError, type Route, toValidationError } from '@rbee/protocol';

interface FieldError {
  readonly field: string;
  readonly message: string;
}

/**
 * Checks a request as the queen will, before one is started for it. `flags` names the flag of each field whose name is
 * another one. Throws the validation error, with a suggestion where one is given.
 */
export function checkRequest(
  route: keyof typeof queenRoutes,
  input: unknown,
  flags: Readonly<Record<string, string>> = {},
  suggestion?: string,
): void {
  const { query, body, params }: Route = queenRoutes[route];
  const parsed = (query ?? body ?? params)?.safeParse(input);
  if (parsed?.error) throw withFlags(toValidationError(parsed.error, 'the request'), flags, suggestion);
}

/** A validation error that speaks of flags instead of fields. */
function withFlags(error: RbeeError, flags: Readonly<Record<string, string>>, suggestion?: string): RbeeError {
  const faults = error.details.errors as readonly FieldError[];
  // Several items of one list may have the same fault.
  const told = new Set(
    faults.map(({ field, message: why }) => `${toFlag(field, flags)}: ${namingFlags(toPhrase(why), flags)}`),
  );
  return new RbeeError(error.code, [...told].join('; '), {
    details: error.details,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
}

function toFlag(field: string, flags: Readonly<Record<string, string>>): string {
  const name = field.split('.')[0] ?? field;
  return flags[name] ?? `--${name.replaceAll('_', '-')}`;
}

/** A message in which flags stand for the fields that it mentions; every field of two words is one. */
function namingFlags(message: string, flags: Readonly<Record<string, string>>): string {
  return message.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (field) => toFlag(field, flags));
}

/** The schema library's own wordings, in the words of all other messages. */
const PHRASES: readonly (readonly [RegExp, string])[] = [
  [/^Too small: expected number to be >=(.+)$/, 'must be at least $1'],
  [/^Too small: expected number to be >(.+)$/, 'must be more than $1'],
  [/^Too big: expected number to be <=(.+)$/, 'must be at most $1'],
  [/^Too big: expected number to be <(.+)$/, 'must be less than $1'],
  [/^Invalid input: expected int, received number$/, 'must be a whole number'],
  [/^Invalid option: expected one of (.+)$/, 'must be one of $1'],
  // The one record that flags fill has backends as its keys.
  [/^Invalid key in record$/, `must be one of ${BACKENDS.join(', ')}, each with a number`],
];

function toPhrase(message: string): string {
  const phrase = PHRASES.reduce((text, [pattern, words]) => text.replace(pattern, words), message);
  const listed = phrase.replace(/"([\w-]+)"(\||$)/g, (_match, name: string, bar: string) =>
    bar === '' ? name : `${name}, `,
  );
  return listed.charAt(0).toLowerCase() + listed.slice(1);
}
