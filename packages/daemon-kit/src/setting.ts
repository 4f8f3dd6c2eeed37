import { z } from 'zod';
import { formatDuration, parseDuration } from './duration.js';
import { LOG_LEVELS, type LogLevel } from './log-level.js';
import type { RbeePaths } from './paths.js';

/** The programs of rbee, as their services are named. */
export const PROGRAMS = ['rbee-keeper', 'queen-rbee', 'rbee-hive', 'llm-worker-rbee'] as const;
export type Program = (typeof PROGRAMS)[number];

/** What a value must be. */
export interface SettingType<T> {
  readonly kind: 'text' | 'path' | 'count' | 'number' | 'flag' | 'port' | 'duration' | 'address' | 'choice';
  readonly schema: z.ZodType<T>;
  /** What is accepted, to stand behind "expected". */
  readonly expected: string;
}

/** One configuration value: where it may come from and what it must be. Precedence: flag, environment, file, default. */
export interface Setting<T = unknown> extends SettingType<T> {
  /** The default; of a setting with a `place` the way to write it, with `~` for the home folder. */
  readonly default: T;
  /** The default is this place below the home folder. */
  readonly place?: keyof RbeePaths;
  /** Environment variables, the first one that is set counts. */
  readonly env?: readonly string[];
  /** Key in the configuration file, as in `paths.models_dir`. */
  readonly file?: string;
  /** What it is, in one line. */
  readonly describe?: string;
  /** The programs that act upon it; none: it has no effect in this version. */
  readonly readBy?: readonly Program[];
  /** Whether a daemon that is told to read its configuration again takes a new value. Default: after a restart. */
  readonly reload?: 'live' | 'restart';
  /** The value itself is a secret and never shown; the path of a key file is none. */
  readonly secret?: true;
  /** What stands for the default where people read it, if that depends on something else. */
  readonly shownDefault?: string;
}

export type SettingTable = Readonly<Record<string, Setting>>;
export type ValuesOf<T extends SettingTable> = { readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never };

/** Keeps a setting's value type while it stands in a table. */
export function setting<T>(definition: Setting<T>): Setting<T> {
  return definition;
}

const WHOLE = /^[+-]?\d+$/;
const NUMBER = /^\d+(\.\d+)?$/;

/** Numbers as a file, an environment variable or a flag gives them; nothing else is taken for a number. */
const numeric = (pattern: RegExp) => z.union([z.number(), z.string().regex(pattern).transform(Number)]);

function count(least: number, most = Number.MAX_SAFE_INTEGER): SettingType<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  const schema = numeric(WHOLE).pipe(z.number().int().min(least).max(most));
  return { kind: 'count', schema, expected: `a whole number ${range}` };
}

const MIN_PORT = 1024;
const MAX_PORT = 65_535;

/** `host:port`, or a port alone. A host of IPv6 stands in brackets. */
export interface ListenAddress {
  readonly host: string | undefined;
  readonly port: number;
}

function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:(.+):)?(\d+)$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port < MIN_PORT || port > MAX_PORT) return undefined;
  return { host: match[1]?.replace(/^\[|\]$/g, ''), port };
}

/** A schema for text that a function reads; what it gives `undefined` for is refused. */
function parsed<T>(read: (text: string) => T | undefined): z.ZodType<T> {
  return z.string().transform((text, context) => {
    const value = read(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom' });
    return z.NEVER;
  });
}

/** One of some words. */
function choice<const T extends string>(words: readonly T[]): SettingType<T> {
  return { kind: 'choice', schema: z.enum(words), expected: `one of ${words.join(', ')}` };
}

/** Types of values that come as text from the environment and from flags, and typed from the file. */
export const settingType = {
  text: { kind: 'text', schema: z.string().min(1), expected: 'text' } as SettingType<string>,
  /** Made absolute: `~/` is the home folder, and a relative path starts at the folder of the file that it stands in. */
  path: { kind: 'path', schema: z.string().min(1), expected: 'a path' } as SettingType<string>,
  port: {
    kind: 'port',
    schema: numeric(WHOLE).pipe(z.number().int().min(MIN_PORT).max(MAX_PORT)),
    expected: `a port (${MIN_PORT} to ${MAX_PORT})`,
  } as SettingType<number>,
  listenAddress: {
    kind: 'address',
    schema: parsed(parseListenAddress),
    expected: `host:port or a port (${MIN_PORT} to ${MAX_PORT})`,
  } as SettingType<ListenAddress>,
  /** An address without a slash at its end. */
  httpAddress: {
    kind: 'address',
    schema: parsed((text) =>
      /^https?:\/\/[^/]/.test(text) && URL.canParse(text) ? text.replace(/\/+$/, '') : undefined,
    ),
    expected: 'an http:// or https:// address',
  } as SettingType<string>,
  positive: {
    kind: 'number',
    schema: numeric(NUMBER).refine((value) => Number.isFinite(value) && value > 0),
    expected: 'a number above 0',
  } as SettingType<number>,
  flag: {
    kind: 'flag',
    schema: z.union([
      z.boolean(),
      z.enum(['true', 'false', '1', '0', '']).transform((text) => text === 'true' || text === '1'),
    ]),
    expected: 'true or false',
  } as SettingType<boolean>,
  duration: {
    kind: 'duration',
    schema: z.union([z.number().min(0), parsed(parseDuration)]),
    expected: 'a duration such as 500ms, 30s or 5m',
  } as SettingType<number>,
  logLevel: choice(LOG_LEVELS) as SettingType<LogLevel>,
  choice,
  /** Whole numbers within bounds, both included. */
  count,
};

/** A value for people. A secret gives `[REDACTED]`. */
export function showValue(definition: Setting, value: unknown): string {
  if (value === undefined || value === '') return 'none';
  if (definition.secret) return '[REDACTED]';
  if (definition.kind === 'duration' && typeof value === 'number') return formatDuration(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const { host, port } = value as ListenAddress;
  return host === undefined ? String(port) : `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Schemas of single values, for a flag that is no setting. */
export const settingSchema = { port: settingType.port.schema };
