import { isAbsolute, join } from 'node:path';
import type { Environment } from './environment.js';

/** Default places of a user's installation. */
export interface RbeePaths {
  readonly state: string;
  readonly logs: string;
  readonly run: string;
  readonly models: string;
  readonly catalog: string;
  /** The queen's nodes. */
  readonly registry: string;
  readonly config: string;
}

/**
 * The default places below a home folder. `XDG_CONFIG_HOME` and `XDG_DATA_HOME` stand for `~/.config` and
 * `~/.local/share`; as their specification says, one that is not absolute counts for nothing.
 */
export function userPaths({
  home,
  variables = {},
}: Pick<Environment, 'home'> & Partial<Pick<Environment, 'variables'>>): RbeePaths {
  const state = join(home, '.rbee');
  const at = (variable: string | undefined, fallback: string) =>
    variable !== undefined && isAbsolute(variable) ? variable : fallback;
  return {
    state,
    logs: join(state, 'logs'),
    run: join(state, 'run'),
    models: join(at(variables.XDG_DATA_HOME, join(home, '.local', 'share')), 'rbee', 'models'),
    catalog: join(state, 'models.db'),
    registry: join(state, 'beehives.db'),
    config: join(at(variables.XDG_CONFIG_HOME, join(home, '.config')), 'rbee', 'config.toml'),
  };
}
