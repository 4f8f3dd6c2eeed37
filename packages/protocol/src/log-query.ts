import { z } from 'zod';
import { optional, withDefault } from './field.js';
import { nodeNameSchema, workerIdSchema } from './identifiers.js';

/** A yes or no in a query string. */
export const flagSchema = z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1');

/** A count, typed or as the text of a query string; an empty text is none. */
const lineCountSchema = z
  .union([z.number(), z.string().regex(/^\d+$/).transform(Number)], 'must be a whole number')
  .pipe(z.number().int().min(0).max(100_000));

const fields = {
  /** Stay open and send lines as they are written. */
  follow: withDefault(flagSchema, false),
  /** How many of the newest lines come first. */
  lines: withDefault(lineCountSchema, 100),
  /** Lines of this worker only; left out: those of the hive and of all its workers. */
  worker_id: optional(workerIdSchema),
};

export const hiveLogQuerySchema = z.object(fields);
export const queenLogQuerySchema = z.object({ node: withDefault(nodeNameSchema, 'localhost'), ...fields });
