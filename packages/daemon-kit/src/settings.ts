import { dirname, join, resolve } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import { didYouMean } from './did-you-mean.js';
import type { Environment } from './environment.js';
import type { ConfigFile } from './find-config-file.js';
import { userPaths } from './paths.js';
import { type Setting, type SettingTable, showValue, type ValuesOf } from './setting.js';
import { settingsByFileKey } from './setting-catalogue.js';

/** Where one effective value came from, for the log and for `config show`. */
export type Origin = 'default' | 'file' | 'environment' | 'flag';

export interface ValueOrigin {
  readonly origin: Origin;
  /** The variable, the flag as it is typed, or the name of the file; nothing for a default. */
  readonly source?: string;
}

/** A value of the file that a variable or a flag wins over. Both values are as `showValue` gives them. */
export interface Override {
  /** Key in the file. */
  readonly key: string;
  readonly by: 'environment' | 'flag';
  /** The variable or the flag. */
  readonly source: string;
  readonly value: string;
  readonly fileValue: string;
}

export interface Resolved<T extends SettingTable> {
  readonly values: ValuesOf<T>;
  readonly origins: Readonly<Record<keyof T, ValueOrigin>>;
  readonly overridden: readonly Override[];
}

/** One mistake in a configuration. It never holds the value, which may be a key that stands in the wrong place. */
export interface SettingProblem {
  /** Key of the file, variable, or flag as it is typed. */
  readonly key: string;
  readonly origin: Origin;
  /** What would be accepted; nothing for a key that does not exist. */
  readonly expected?: string;
  readonly message: string;
  /** What to do about it, where correcting the value is not all. */
  readonly suggestion?: string;
}

export interface SettingSources extends Pick<Environment, 'variables' | 'home' | 'cwd'> {
  /** By the name of the setting. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly file?: ConfigFile | undefined;
}

/** Finds what is wrong with values that are right by themselves. A setting with a problem has its default here. */
export type SettingCheck<T extends SettingTable> = (resolved: Resolved<T>) => readonly SettingProblem[];

/**
 * Merges the sources once into a frozen object. Of the environment only what the table names is looked at; of the file
 * everything, whichever program reads it, so that a mistake is told by the first program that starts. Throws
 * CONFIG_INVALID that lists every problem.
 */
export function resolveSettings<T extends SettingTable>(
  table: T,
  sources: SettingSources,
  check: SettingCheck<T> = () => [],
): Resolved<T> {
  const file = readFileValues(table, sources);
  const problems = [...file.problems];
  const values: Record<string, unknown> = {};
  const origins: Record<string, ValueOrigin> = {};
  const overridden: Override[] = [];
  for (const [name, definition] of Object.entries(table)) {
    const inFile = definition.file !== undefined && file.values.has(definition.file);
    const fileValue = inFile ? file.values.get(definition.file as string) : undefined;
    const given = findGiven(name, definition, sources);
    const parsed = given && parseValue(definition, given.value, sources, sources.cwd);
    if (given && parsed?.success) {
      const { by, source } = given;
      values[name] = parsed.value;
      origins[name] = { origin: by, source };
      const shown = { value: showValue(definition, parsed.value), fileValue: showValue(definition, fileValue) };
      if (inFile) overridden.push({ key: definition.file as string, by, source, ...shown });
      continue;
    }
    if (given) problems.push(toProblem(given.source, given.by, definition));
    const { name: source } = sources.file ?? {};
    values[name] = inFile ? fileValue : defaultOf(definition, sources);
    origins[name] = inFile ? { origin: 'file', ...(source && { source }) } : { origin: 'default' };
  }
  const resolved = Object.freeze({ values: Object.freeze(values), origins, overridden }) as unknown as Resolved<T>;
  const told = new Set(problems.map(({ key }) => key));
  problems.push(...check(resolved).filter(({ key }) => !told.has(key)));
  if (problems.length > 0) throw toConfigError(problems, sources.file?.name);
  return resolved;
}

interface Given {
  readonly by: 'flag' | 'environment';
  readonly source: string;
  readonly value: unknown;
}

function findGiven(name: string, definition: Setting, { flags, variables }: SettingSources): Given | undefined {
  const flag = flags?.[name];
  if (flag !== undefined) {
    return { by: 'flag', value: flag, source: `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}` };
  }
  for (const source of definition.env ?? []) {
    const value = variables[source];
    if (value !== undefined && value !== '') return { by: 'environment', value, source };
  }
  return undefined;
}

type Parsed = { success: true; value: unknown } | { success: false };

/** `folder` is where a relative path starts. */
function parseValue(definition: Setting, given: unknown, { home }: Pick<Environment, 'home'>, folder: string): Parsed {
  const { success, data } = definition.schema.safeParse(given);
  if (!success) return { success };
  return { success, value: definition.kind === 'path' ? toAbsolute(data, home, folder) : data };
}

function toAbsolute(path: unknown, home: string, folder: string): unknown {
  if (typeof path !== 'string') return path;
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : resolve(folder, path);
}

/** The value of a setting that nothing sets. */
export function defaultOf(definition: Setting, environment: Pick<Environment, 'variables' | 'home'>): unknown {
  if (definition.place !== undefined) return userPaths(environment)[definition.place];
  return definition.kind === 'path'
    ? toAbsolute(definition.default, environment.home, environment.home)
    : definition.default;
}

/** All values of the file, checked against the catalogue and the table, whose own settings need not stand in the catalogue. */
function readFileValues(table: SettingTable, sources: SettingSources) {
  const { file } = sources;
  const values = new Map<string, unknown>();
  const problems: SettingProblem[] = [];
  if (file === undefined) return { values, problems };
  const known = new Map(settingsByFileKey);
  for (const entry of Object.values(table)) if (entry.file !== undefined) known.set(entry.file, entry);
  for (const [key, given] of flatten(file.content)) {
    const definition = known.get(key);
    if (definition === undefined) {
      problems.push(toKeyProblem(key, [...known.keys()]));
      continue;
    }
    const parsed = parseValue(definition, given, sources, dirname(file.name));
    if (parsed.success) values.set(key, parsed.value);
    else problems.push(toProblem(key, 'file', definition));
  }
  return { values, problems };
}

function flatten(content: Readonly<Record<string, unknown>>): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [section, body] of Object.entries(content)) {
    if (typeof body !== 'object' || body === null || Array.isArray(body) || body instanceof Date)
      flat.set(section, body);
    else for (const [key, value] of Object.entries(body)) flat.set(`${section}.${key}`, value);
  }
  return flat;
}

function toProblem(key: string, origin: Origin, { expected }: Setting): SettingProblem {
  return { key, origin, expected, message: `expected ${expected}` };
}

function toKeyProblem(key: string, known: readonly string[]): SettingProblem {
  const section = key.split('.')[0] ?? '';
  const isSection = known.some((candidate) => candidate.startsWith(`${section}.`));
  if (key === section && isSection) {
    const expected = `a section, which begins with the line [${section}]`;
    return { key, origin: 'file', expected, message: `expected ${expected}` };
  }
  // Without its section, or in one that does not exist, a key is still known by its own name.
  const word = key.slice(key.lastIndexOf('.') + 1);
  const moved = isSection ? undefined : known.find((candidate) => candidate.endsWith(`.${word}`));
  const meant = didYouMean(key, known) ?? moved;
  return { key, origin: 'file', message: `unknown key${meant ? `; did you mean ${meant}?` : ''}` };
}

function toConfigError(problems: readonly SettingProblem[], file: string | undefined): RbeeError {
  const lines = problems.map(({ key, origin, message }) => `${placeOf(origin, file)}${key}: ${message}`);
  const list = lines.length === 1 ? `: ${lines[0]}` : ` (${lines.length} problems)\n  ${lines.join('\n  ')}`;
  const [only] = problems.length === 1 ? problems : [];
  return new RbeeError('CONFIG_INVALID', `the configuration is not valid${list}`, {
    details: { problems: problems.map(({ suggestion: _, ...problem }) => problem), ...(file ? { file } : {}) },
    suggestion: only?.suggestion ?? 'correct what is named above and start again',
  });
}

/** What stands before a key. A missing value belongs into the file, where there is one. */
function placeOf(origin: Origin, file: string | undefined): string {
  if (origin === 'environment') return 'environment: ';
  if (origin === 'flag') return 'command line: ';
  return file === undefined ? '' : `${file}: `;
}
