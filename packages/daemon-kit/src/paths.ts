import { join } from 'node:path';
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

/** The default places below a home folder. */
export function userPaths(env: Pick<Environment, 'home'>): RbeePaths {
  const state = join(env.home, '.rbee');
  return {
    state,
    logs: join(state, 'logs'),
    run: join(state, 'run'),
    models: join(env.home, '.local', 'share', 'rbee', 'models'),
    catalog: join(state, 'models.db'),
    registry: join(state, 'beehives.db'),
    config: join(env.home, '.config', 'rbee', 'config.toml'),
  };
}
