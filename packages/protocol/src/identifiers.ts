import { z } from 'zod';
import { rejectWith } from './field.js';

/** Why a text may not be used as an identifier, or `undefined` when nothing hostile is in it. */
export function findHostileText(text: string): string | undefined {
  if (text.includes('\0')) return 'null_byte';
  if (/[\r\n]/.test(text)) return 'newline';
  if (text.includes('\x1b')) return 'ansi_escape';
  // Looked for before the printable range, so that what is left of it can only be a control character.
  if (/[^\p{ASCII}]/u.test(text)) return 'non_ascii';
  if (/[^\x20-\x7e]/.test(text)) return 'special_characters';
  if (/[<>]/.test(text)) return 'html';
  if (/[;|&$`\\'"(){}*?!]/.test(text)) return 'shell_metacharacters';
  return undefined;
}

/** The machine-readable reason for a text that was refused already. */
export function reasonForRefusal(text: string, maxLength: number): string {
  if (text.length > maxLength) return findHostileText(text.slice(0, maxLength)) ?? 'too_long';
  const hostile = findHostileText(text);
  if (hostile) return hostile;
  if (/(^|[/:])\.\.(\/|$)/.test(text)) return 'path_traversal';
  return text.startsWith('/') ? 'absolute_path' : 'special_characters';
}

function checkIdentifier(pattern: RegExp, maxLength: number) {
  return (text: string): string | undefined =>
    text.length <= maxLength && pattern.test(text) ? undefined : reasonForRefusal(text, maxLength);
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
    rejectWith(
      'INVALID_WORKER_ID',
      'must be 1 to 64 letters, digits or dashes',
      checkIdentifier(/^[A-Za-z0-9-]+$/, 64),
    ),
  );

const shortId = () =>
  z
    .string()
    .superRefine(
      rejectWith(
        'INVALID_REQUEST',
        'must be 1 to 64 letters, digits, dashes or underscores',
        checkIdentifier(/^[\w-]+$/, 64),
      ),
    );

/** Id of one task and of its inference. */
export const jobIdSchema = shortId();

/** Id that ties together everything that belongs to one request, in every process. */
export const correlationIdSchema = shortId();

/** TCP port that a daemon may listen on. */
export const portSchema = z.number().int().min(1024).max(65535);
