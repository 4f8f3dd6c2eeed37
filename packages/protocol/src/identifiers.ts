import { z } from 'zod';
import { rejectWith } from './field.js';

/** Why a text may not be used as an identifier, or `undefined` when nothing hostile is in it. */
export function findHostileText(text: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/\u0000/.test(text)) return 'null_byte';
  if (/[\r\n]/.test(text)) return 'newline';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/\u001b/.test(text)) return 'ansi_escape';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything outside printable ASCII is refused
  if (/[^\x20-\x7e]/.test(text)) return 'non_ascii';
  if (/[<>]/.test(text)) return 'html';
  if (/[;|&$`\\'"(){}*?!]/.test(text)) return 'shell_metacharacters';
  return undefined;
}

function checkIdentifier(pattern: RegExp, maxLength: number) {
  return (text: string): string | undefined => {
    if (pattern.test(text) && text.length <= maxLength) return undefined;
    return findHostileText(text) ?? (text.length > maxLength ? 'too_long' : 'special_characters');
  };
}

export const BACKENDS = ['cpu', 'cuda', 'metal', 'vulkan'] as const;
export type Backend = (typeof BACKENDS)[number];

/** The compute backend of a worker. It is never replaced by another one. */
export const backendSchema = z
  .string()
  .superRefine(
    rejectWith('INVALID_BACKEND', `must be one of ${BACKENDS.join(', ')}`, (text) =>
      BACKENDS.includes(text as Backend) ? undefined : (findHostileText(text) ?? 'unknown_backend'),
    ),
  )
  .transform((text) => text as Backend);

/** Index of a device within its backend, counted from 0; GPUs in the order of the bus. */
export const deviceSchema = z
  .number()
  .superRefine(
    rejectWith('INVALID_DEVICE', 'must be a non-negative integer', (value) =>
      Number.isInteger(value) && value >= 0 ? undefined : 'not_a_device_index',
    ),
  );

/** Name of a node: DNS-safe labels, at most 64 characters in all. */
export const nodeNameSchema = z
  .string()
  .superRefine(
    rejectWith(
      'INVALID_NODE_NAME',
      'must be 1 to 64 letters, digits or dashes, with dots between labels',
      checkIdentifier(/^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/, 64),
    ),
  );

/** Id of a worker, `worker-<uuid>` when rbee makes it. */
export const workerIdSchema = z
  .string()
  .superRefine(
    rejectWith('INVALID_WORKER_ID', 'must be 1 to 64 letters, digits or dashes', checkIdentifier(/^[A-Za-z0-9-]+$/, 64)),
  );

/** Id of one task and of its inference. */
export const jobIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, dashes or underscores');

/** Id that ties together everything that belongs to one request, in every process. */
export const correlationIdSchema = jobIdSchema;

/** TCP port that a daemon may listen on. */
export const portSchema = z.number().int().min(1024).max(65535);
