import { RbeeError } from '@rbee/protocol';
import { z } from 'zod';
import { parseDuration } from './duration.js';
import { LOG_LEVELS } from './log-level.js';

const DURATION_RULE = 'must be a duration such as 500ms, 30s or 5m';

/** One configuration value: where it may come from and what it must be. Precedence: flag, environment, file, default. */
export interface Setting<T = unknown> {
  readonly schema: z.ZodType<T>;
  readonly default: T;
  /** Environment variables, the first one that is set counts. */
  readonly env?: readonly string[];
  /** Key in the configuration file, as in `paths.models_dir`. */
  readonly file?: string;
}

export type SettingTable = Readonly<Record<string, Setting>>;
export type ValuesOf<T extends SettingTable> = { readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never };

/** Where one effective value came from, for the log and for `config show`. */
export type Origin = 'default' | 'file' | 'environment' | 'flag';

export interface Resolved<T extends SettingTable> {
  readonly values: ValuesOf<T>;
  readonly origins: Readonly<Record<keyof T, Origin>>;
}

interface Problem {
  key: string;
  origin: Origin;
  message: string;
}

export interface SettingSources {
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Parsed configuration file and its name for messages. */
  readonly file?: { readonly name: string; readonly content: Readonly<Record<string, unknown>> };
}

/** Whole numbers as a file, an environment variable or a flag gives them; nothing else is taken for a number. */
const wholeNumber = (schema: z.ZodNumber) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^[+-]?\d+$/)
          .transform(Number),
      ],
      'must be a whole number',
    )
    .pipe(schema);

/** Schemas for values that come as text from the environment and typed from the file. */
export const settingSchema = {
  text: z.string().min(1),
  port: wholeNumber(z.number().int().min(1024, 'must be 1024 to 65535').max(65535, 'must be 1024 to 65535')),
  count: wholeNumber(z.number().int().min(0)),
  positive: z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^\d+(\.\d+)?$/)
          .transform(Number),
      ],
      'must be a number',
    )
    .refine((value) => value > 0, 'must be more than 0'),
  /** An address without a slash at its end. */
  httpAddress: z
    .string()
    .refine((value) => /^https?:\/\/[^/]/.test(value) && URL.canParse(value), 'must be an http:// or https:// address')
    .transform((value) => value.replace(/\/+$/, '')),
  flag: z.union(
    [z.boolean(), z.enum(['true', 'false', '1', '0', '']).transform((text) => text === 'true' || text === '1')],
    'must be true or false',
  ),
  logLevel: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`),
  duration: z.union([z.number().min(0), z.string()], DURATION_RULE).transform((value, context) => {
    const ms = typeof value === 'number' ? value : parseDuration(value);
    if (ms === undefined) {
      context.addIssue({ code: 'custom', message: DURATION_RULE });
      return z.NEVER;
    }
    return ms;
  }),
};

/** Keeps a setting's value type while it stands in a table. */
export function setting<T>(definition: Setting<T>): Setting<T> {
  return definition;
}

/** Merges the sources once into a frozen object. Throws CONFIG_INVALID that lists every problem, unknown file keys included. */
export function resolveSettings<T extends SettingTable>(
  table: T,
  sources: SettingSources,
  knownFileKeys: readonly string[] = [],
): Resolved<T> {
  const problems: Problem[] = [];
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  const fileValues = flatten(sources.file?.content ?? {});
  for (const [key, definition] of Object.entries(table)) {
    const [origin, given, label] = findValue(key, definition, sources, fileValues);
    origins[key] = origin;
    if (origin === 'default') {
      values[key] = definition.default;
      continue;
    }
    const parsed = definition.schema.safeParse(given);
    if (parsed.success) values[key] = parsed.data;
    else problems.push({ key: label, origin, message: parsed.error.issues[0]?.message ?? 'not valid' });
  }
  const known = new Set([...knownFileKeys, ...Object.values(table).map((definition) => definition.file)]);
  for (const key of fileValues.keys()) {
    const section = `${key.split('.')[0]}.*`;
    if (!known.has(key) && !known.has(section)) problems.push({ key, origin: 'file', message: 'unknown key' });
  }
  if (problems.length > 0) throw toConfigError(problems, sources.file?.name);
  return { values: Object.freeze(values) as ValuesOf<T>, origins: origins as Resolved<T>['origins'] };
}

function findValue(
  key: string,
  definition: Setting,
  sources: SettingSources,
  fileValues: ReadonlyMap<string, unknown>,
): [Origin, unknown, string] {
  const flag = sources.flags?.[key];
  if (flag !== undefined) return ['flag', flag, `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`];
  for (const name of definition.env ?? []) {
    const value = sources.variables[name];
    if (value !== undefined && value !== '') return ['environment', value, name];
  }
  if (definition.file !== undefined && fileValues.has(definition.file)) {
    return ['file', fileValues.get(definition.file), definition.file];
  }
  return ['default', undefined, key];
}

function flatten(content: Readonly<Record<string, unknown>>): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [section, body] of Object.entries(content)) {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) flat.set(section, body);
    else for (const [key, value] of Object.entries(body)) flat.set(`${section}.${key}`, value);
  }
  return flat;
}

function toConfigError(problems: readonly Problem[], file: string | undefined): RbeeError {
  const list = problems.map((problem) => `${problem.key} (${problem.origin}): ${problem.message}`).join('; ');
  return new RbeeError('CONFIG_INVALID', `the configuration is not valid: ${list}`, {
    details: { problems, ...(file ? { file } : {}) },
    suggestion: 'correct the values named above and start again',
  });
}
