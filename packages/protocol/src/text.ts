import { z } from 'zod';
import type { ErrorCode } from './error-catalogue.js';
import { rejectWith } from './field.js';
import { reasonForRefusal } from './identifiers.js';

/** Every `details.reason` of a refused value, with what was found in it. The value itself is never part of an answer. */
export const REFUSAL_REASONS = {
  newline: 'a line feed or a carriage return',
  ansi_escape: 'the beginning of a control sequence of a terminal: ESC, or its one-character form U+009B',
  null_byte: 'a NUL',
  control_character: 'another control character, in a text that may hold more than ASCII',
  non_ascii: 'a character outside ASCII, in a text that is ASCII only',
  special_characters:
    'a character, or an arrangement of characters, that the field does not allow; also nothing at all',
  html: 'a pointed bracket',
  shell_metacharacters: 'a character that means something to a shell',
  path_traversal: 'a "." or ".." as a part of a path',
  absolute_path: 'an absolute path where none may be, or one outside the folders that models may come from',
  not_absolute: 'a path that is not absolute where one must be',
  symlink: 'a path through a symbolic link',
  not_a_file: 'a path to something else than a regular file',
  no_permission: 'a file that the user of the service may not read',
  too_long: 'more characters than the field takes',
  unknown_backend: 'a word that is no backend',
  not_a_device_index: 'a number that is negative or not whole',
} as const;
export type RefusalReason = keyof typeof REFUSAL_REASONS;

/** Control characters, line separators, halves of surrogate pairs, and what is not seen at all: zero-width and bidirectional marks. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu');

/** Why a text may not be shown or logged, or `undefined`; every script is allowed. */
export function findUnprintable(text: string): RefusalReason | undefined {
  if (!UNPRINTABLE.test(text)) return undefined;
  if (text.includes('\0')) return 'null_byte';
  if (/[\r\n]/.test(text)) return 'newline';
  if (text.includes('\x1b') || text.includes('\x9b')) return 'ansi_escape';
  return /\p{Cc}/u.test(text) ? 'control_character' : 'special_characters';
}

/** A text of one form. `message` says which, beginning with "must". */
export function patternText(message: string, pattern: RegExp, maxLength: number, code: ErrorCode = 'INVALID_REQUEST') {
  return z
    .string()
    .superRefine(
      rejectWith(code, message, (text) =>
        text.length <= maxLength && pattern.test(text) ? undefined : reasonForRefusal(text, maxLength),
      ),
    );
}

const ORIGIN = /^https?:\/\/(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\/?$/;
const MAX_ORIGIN_LENGTH = 256;

/** An address of a service: scheme, host and port only, so that it can hold neither a path nor a password. */
function originText(message: string, isAllowed: (text: string) => boolean = () => true) {
  return z
    .string()
    .superRefine(
      rejectWith('INVALID_REQUEST', message, (text) =>
        text.length <= MAX_ORIGIN_LENGTH && ORIGIN.test(text) && URL.canParse(text) && isAllowed(text)
          ? undefined
          : reasonForRefusal(text, MAX_ORIGIN_LENGTH),
      ),
    );
}

/** Address of a worker or a hive as it reports it. */
export const httpOriginSchema = originText('must be an http:// or https:// address without a path');

/** The same without TLS, which a hive does not speak. */
export const plainHttpOriginSchema = originText('must be an http:// address such as http://192.168.1.20:9200', (text) =>
  text.startsWith('http://'),
);

const dateTime = z.iso.datetime({ offset: true });
const MAX_TIME_LENGTH = 40;

/** A moment as ISO 8601 writes it, with its zone. */
export const timeSchema = z
  .string()
  .superRefine(
    rejectWith('INVALID_REQUEST', 'must be a time such as 2030-01-31T12:00:00Z', (text) =>
      text.length <= MAX_TIME_LENGTH && dateTime.safeParse(text).success
        ? undefined
        : reasonForRefusal(text, MAX_TIME_LENGTH),
    ),
  );

/** A whole number from 0 to `max`, typed or as the digits of a path or a query string; an empty text is none. */
export function wholeNumber(max: number) {
  return z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^\d{1,16}$/)
          .transform(Number),
      ],
      'must be a whole number',
    )
    .pipe(z.number().int().min(0).max(max));
}

/** One line that may be shown and logged, whatever a text was: at most `maxLength` characters, with U+FFFD for what cannot be printed. */
export function toPrintable(text: string, maxLength: number): string {
  return text
    .slice(0, maxLength)
    .replace(/[\r\n\t]+/g, ' ')
    .replace(EVERY_UNPRINTABLE, '\ufffd');
}

/**
 * Text of another process that is passed on. It is made printable, not refused: what it tells, for example why a model could not
 * be loaded, is worth more than its form.
 */
export function toldText(maxLength: number) {
  return z.string().transform((text) => toPrintable(text, maxLength));
}

const MAX_FACT_LENGTH = 1_000;
/** Deeper ones are left out: an answer is written recursively, and must not end in the stack's limit. */
const MAX_FACT_DEPTH = 4;

/** JSON values of another process that are passed on, with every text in them made printable. */
export const toldFactsSchema = z
  .record(z.string(), z.unknown())
  .transform((facts) => toPrintableFacts(facts, 0) as Record<string, unknown>);

function toPrintableFacts(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return toPrintable(value, MAX_FACT_LENGTH);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_FACT_DEPTH) return undefined;
  if (Array.isArray(value)) return value.map((item) => toPrintableFacts(item, depth + 1) ?? null);
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      toPrintable(name, MAX_FACT_LENGTH),
      toPrintableFacts(item, depth + 1),
    ]),
  );
}
