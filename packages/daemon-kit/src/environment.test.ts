import { homedir } from 'node:os';
import { expect, it } from '@jest/globals';
import { processEnvironment } from './environment.js';
import { userPaths } from './paths.js';

it('describes this process', () => {
  const env = processEnvironment();
  expect(env).toMatchObject({ cwd: process.cwd(), platform: process.platform, home: homedir() });
  expect(env.variables.PATH).toBe(process.env.PATH);
  expect([env.stdin, env.stdout, env.stderr]).toEqual([process.stdin, process.stdout, process.stderr]);
});

it('has its places below the home folder', () => {
  expect(userPaths({ home: '/home/me' })).toEqual({
    state: '/home/me/.rbee',
    logs: '/home/me/.rbee/logs',
    registry: '/home/me/.rbee/beehives.db',
    run: '/home/me/.rbee/run',
    models: '/home/me/.local/share/rbee/models',
    catalog: '/home/me/.rbee/models.db',
    config: '/home/me/.config/rbee/config.toml',
  });
});
