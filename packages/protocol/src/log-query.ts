import { z } from 'zod';
import { optional, withDefault } from './field.js';
import { nodeNameSchema, workerIdSchema } from './identifiers.js';
import { wholeNumber } from './text.js';

/** A yes or no in a query string. */
export const flagSchema = z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1');

const fields = {
  /** Stay open and send lines as they are written. */
  follow: withDefault(flagSchema, false),
  /** How many of the newest lines come first. */
  lines: withDefault(wholeNumber(100_000), 100),
  /** Lines of this worker only; left out: those of the hive and of all its workers. */
  worker_id: optional(workerIdSchema),
};

export const hiveLogQuerySchema = z.object(fields);
export const queenLogQuerySchema = z.object({ node: withDefault(nodeNameSchema, 'localhost'), ...fields });
