import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  parseConfigFile,
  resolveSettings,
  type SettingSources,
  setting,
  settingSchema,
  timeoutSettings,
  userPaths,
  type ValuesOf,
} from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import type { GlobalOptions } from './global-options.js';
import type { KeeperEnvironment } from './keeper-environment.js';

const queenUrlSchema = settingSchema.text.refine(
  (text) => /^http:\/\/[^/?#@]+\/?$/.test(text) && URL.canParse(text),
  'must be an address such as http://127.0.0.1:8080',
);

const table = {
  queenUrl: setting<string | undefined>({
    schema: queenUrlSchema,
    default: undefined,
    env: ['RBEE_QUEEN_URL'],
    file: 'queen.url',
  }),
  queenPort: setting<number>({
    schema: settingSchema.port,
    default: 8080,
    env: ['RBEE_QUEEN_PORT'],
    file: 'queen.port',
  }),
  keepAlive: setting<number>({
    schema: settingSchema.duration,
    default: 0,
    env: ['RBEE_KEEP_ALIVE'],
    file: 'queen.keep_alive',
  }),
  apiTokenFile: setting<string | undefined>({
    schema: settingSchema.text,
    default: undefined,
    file: 'auth.api_token_file',
  }),
  // Those of the daemons too: a mistake is told before one of them is started in vain.
  ...timeoutSettings,
};

/** The file is shared by all of rbee; what the daemons read of it is theirs to check. */
const OTHER_KEYS = ['pool', 'paths', 'remote', 'queen', 'auth', 'audit', 'limits', 'metrics', 'hub']
  .map((section) => `${section}.*`)
  .concat('timeouts.start_grace');

export interface KeeperSettings extends Readonly<Omit<ValuesOf<typeof table>, 'queenUrl'>> {
  /** Where the queen is, without a slash at its end. */
  readonly queenUrl: string;
  /** The configuration file that was read, if any. */
  readonly configFile: string | undefined;
}

/** Merges defaults, configuration file, environment and flags. Throws CONFIG_INVALID that lists every problem. */
export function readSettings(
  env: KeeperEnvironment,
  globals: Pick<GlobalOptions, 'config' | 'queen-url'>,
  keepAlive?: number,
): KeeperSettings {
  const configFile = findConfigFile(env, globals.config);
  const sources: SettingSources = {
    flags: { queenUrl: globals['queen-url'], keepAlive },
    variables: env.variables,
    ...(configFile === undefined ? {} : { file: { name: configFile, content: readConfigFile(configFile) } }),
  };
  const { values } = resolveSettings(table, sources, OTHER_KEYS);
  const queenUrl = (values.queenUrl ?? `http://127.0.0.1:${values.queenPort}`).replace(/\/$/, '');
  return Object.freeze({ ...values, queenUrl, configFile });
}

function findConfigFile(env: KeeperEnvironment, flag: string | undefined): string | undefined {
  const named = flag ?? (env.variables.RBEE_CONFIG || undefined);
  if (named !== undefined) return resolve(env.cwd, named);
  return [userPaths(env).config, join('/etc', 'rbee', 'config.toml')].find((path) => existsSync(path));
}

function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw toFileError(path, error as NodeJS.ErrnoException);
  }
  return parseConfigFile(path, text);
}

function toFileError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('CONFIG_INVALID', `the configuration file ${path} cannot be read (${cause.code})`, {
    details: { file: path, cause: cause.code },
    suggestion: 'check the path that --config or RBEE_CONFIG gives',
    cause,
  });
}
