import { mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { processEnvironment } from './environment.js';
import { userPaths } from './paths.js';

it('describes this process', () => {
  const env = processEnvironment();
  expect(env).toMatchObject({ cwd: process.cwd(), platform: process.platform, home: homedir() });
  expect(env.variables.PATH).toBe(process.env.PATH);
  expect([env.stdin, env.stdout, env.stderr]).toEqual([process.stdin, process.stdout, process.stderr]);
});

it('stands in the home folder where its own was removed', () => {
  const before = process.cwd();
  const folder = mkdtempSync(join(tmpdir(), 'rbee-environment-'));
  try {
    process.chdir(folder);
    rmSync(folder, { recursive: true });
    expect(processEnvironment().cwd).toBe(homedir());
  } finally {
    process.chdir(before);
  }
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

it('has its files and data where XDG says, if that is an absolute path', () => {
  const variables = { XDG_CONFIG_HOME: '/c', XDG_DATA_HOME: '/d' };
  const paths = userPaths({ home: '/home/me', variables });
  expect([paths.config, paths.models, paths.state]).toEqual([
    '/c/rbee/config.toml',
    '/d/rbee/models',
    '/home/me/.rbee',
  ]);
  const relative = { XDG_CONFIG_HOME: 'c', XDG_DATA_HOME: '' };
  expect(userPaths({ home: '/home/me', variables: relative })).toEqual(userPaths({ home: '/home/me' }));
});
