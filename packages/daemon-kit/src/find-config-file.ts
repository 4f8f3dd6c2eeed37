import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import { parseConfigFile } from './config-file.js';
import type { Environment } from './environment.js';
import { userPaths } from './paths.js';

/** A configuration file that was read. */
export interface ConfigFile {
  /** Its path; relative paths in it start at its folder. */
  readonly name: string;
  readonly content: Readonly<Record<string, unknown>>;
}

/** What the search for the configuration file gave. */
export interface FoundConfig {
  readonly file: ConfigFile | undefined;
  /** The places that were looked at, in this order; the last one is that of the file, if there is one. */
  readonly searched: readonly string[];
}

/**
 * Reads the first configuration file that there is: that of the flag, of `RBEE_CONFIG`, of the user, of the system. One
 * that is named has to be there. The system's is looked for below `RBEE_SYSTEM_ROOT` where that is set. Throws
 * CONFIG_INVALID when the file is missing, can't be read or is no TOML.
 */
export function findConfigFile(
  environment: Pick<Environment, 'variables' | 'home' | 'cwd'>,
  flag?: string | undefined,
): FoundConfig {
  const { variables, cwd } = environment;
  const named = flag ?? (variables.RBEE_CONFIG || undefined);
  if (named !== undefined) {
    const name = resolve(cwd, named);
    const asked = flag === undefined ? 'RBEE_CONFIG' : '--config';
    return { file: read(name, `correct ${asked}, or leave it out`), searched: [name] };
  }
  const user = userPaths(environment).config;
  const system = resolve('/', variables.RBEE_SYSTEM_ROOT ?? '', join('etc', 'rbee', 'config.toml'));
  const searched: string[] = [];
  for (const name of [user, system]) {
    searched.push(name);
    const skipped = name === user ? MISSING : NOT_OURS;
    const file = read(name, `make ${name} readable for this user, or give another file with --config`, skipped);
    if (file !== undefined) return { file, searched };
  }
  return { file: undefined, searched };
}

/** Failures upon which the next place is looked at. */
const MISSING = new Set(['ENOENT', 'ENOTDIR']);
/** A system's file that is closed to this user was not meant for this user. */
const NOT_OURS = new Set([...MISSING, 'EACCES']);

function read(name: string, suggestion: string, skipped: ReadonlySet<string> = new Set()): ConfigFile | undefined {
  let text: string;
  try {
    text = readFileSync(name, 'utf8');
  } catch (cause) {
    const { code = 'unknown cause' } = cause as NodeJS.ErrnoException;
    if (skipped.has(code)) return undefined;
    throw toUnreadableError(name, code, suggestion, cause);
  }
  return { name, content: parseConfigFile(name, text) };
}

function toUnreadableError(name: string, code: string, suggestion: string, cause: unknown): RbeeError {
  return new RbeeError('CONFIG_INVALID', `the configuration file ${name} cannot be read (${code})`, {
    details: { file: name, cause: code },
    suggestion,
    cause,
  });
}
