import { findConfigFile, pick, resolveSettings, timeoutSettings, type ValuesOf } from '@rbee/daemon-kit/client';
import type { GlobalOptions } from './global-options.js';
import type { KeeperEnvironment } from './keeper-environment.js';

/** Every setting of the keeper. Durations are milliseconds. */
const keeperTable = {
  ...pick('queenUrl', 'queenPort', 'keepAlive', 'apiTokenFile', 'logDir'),
  // Those of the daemons too: a mistake is told before one of them is started in vain.
  ...timeoutSettings,
};

export interface KeeperSettings extends Readonly<Omit<ValuesOf<typeof keeperTable>, 'queenUrl'>> {
  /** Where the queen is, without a slash at its end. */
  readonly queenUrl: string;
  /** The configuration file that was read, if any. */
  readonly configFile: string | undefined;
  /** Where it was looked for, in this order; the last one is that of the file, if there is one. */
  readonly configSearched: readonly string[];
}

/** Merges defaults, configuration file, environment and flags. Throws CONFIG_INVALID that lists every problem. */
export function readSettings(
  env: KeeperEnvironment,
  globals: Pick<GlobalOptions, 'config' | 'queen-url'>,
  keepAlive?: number,
): KeeperSettings {
  const { file, searched } = findConfigFile(env, globals.config);
  const { variables, home, cwd } = env;
  const flags = { queenUrl: globals['queen-url'], keepAlive };
  const { values } = resolveSettings(keeperTable, { flags, variables, home, cwd, file });
  const queenUrl = (values.queenUrl ?? `http://127.0.0.1:${values.queenPort}`).replace(/\/$/, '');
  return Object.freeze({ ...values, queenUrl, configFile: file?.name, configSearched: searched });
}
