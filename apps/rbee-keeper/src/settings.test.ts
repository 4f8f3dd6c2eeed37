import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { readSettings } from './settings.js';
import { environmentWith, makeFolder, removeFolders } from './testing/start-keeper.js';

afterEach(removeFolders);

function settingsWith(parts: {
  variables?: Record<string, string>;
  userFile?: string;
  files?: Record<string, string>;
  flags?: { config?: string; 'queen-url'?: string };
  keepAlive?: number;
}) {
  const home = makeFolder();
  if (parts.userFile !== undefined) {
    mkdirSync(join(home, '.config', 'rbee'), { recursive: true });
    writeFileSync(join(home, '.config', 'rbee', 'config.toml'), parts.userFile);
  }
  for (const [name, text] of Object.entries(parts.files ?? {})) writeFileSync(join(home, name), text);
  const env = environmentWith({ home, cwd: home, variables: parts.variables ?? {} });
  const { config, 'queen-url': queenUrl } = parts.flags ?? {};
  return readSettings(env, { config, 'queen-url': queenUrl }, parts.keepAlive);
}

describe('readSettings', () => {
  it.each<[string, Parameters<typeof settingsWith>[0], string]>([
    ['nothing', {}, 'http://127.0.0.1:8080'],
    ['a port', { variables: { RBEE_QUEEN_PORT: '8090' } }, 'http://127.0.0.1:8090'],
    ['the user file', { userFile: '[queen]\nurl = "http://a:1025"' }, 'http://a:1025'],
    ['a port in the user file', { userFile: '[queen]\nport = 8091' }, 'http://127.0.0.1:8091'],
    [
      'a variable before the file',
      { userFile: '[queen]\nurl = "http://a:1025"', variables: { RBEE_QUEEN_URL: 'http://b:1025/' } },
      'http://b:1025',
    ],
    [
      'a flag before a variable',
      { variables: { RBEE_QUEEN_URL: 'http://b:1025' }, flags: { 'queen-url': 'http://c:1025' } },
      'http://c:1025',
    ],
    [
      'a named file before the user file',
      {
        userFile: '[queen]\nurl = "http://a:1025"',
        files: { 'own.toml': '[queen]\nurl = "http://d:1025"' },
        variables: { RBEE_CONFIG: 'own.toml' },
      },
      'http://d:1025',
    ],
    [
      'the file of a flag before that of a variable',
      {
        files: { 'own.toml': '', 'flag.toml': '[queen]\nurl = "http://e:1025"' },
        variables: { RBEE_CONFIG: 'own.toml' },
        flags: { config: 'flag.toml' },
      },
      'http://e:1025',
    ],
  ])('finds the queen by %s', (_name, parts, url) => {
    expect(settingsWith(parts).queenUrl).toBe(url);
  });

  it('reads how long a queen stays', () => {
    expect(settingsWith({}).keepAlive).toBe(0);
    expect(settingsWith({ userFile: '[queen]\nkeep_alive = "10m"' }).keepAlive).toBe(600_000);
    expect(settingsWith({ variables: { RBEE_KEEP_ALIVE: '5s' } }).keepAlive).toBe(5000);
    expect(settingsWith({ variables: { RBEE_KEEP_ALIVE: '5s' }, keepAlive: 250 }).keepAlive).toBe(250);
  });

  it('tells where the configuration file was looked for', () => {
    const { configFile, configSearched } = settingsWith({ variables: { RBEE_SYSTEM_ROOT: '/nowhere' } });
    expect(configFile).toBeUndefined();
    expect(configSearched).toEqual([
      expect.stringMatching(/\/\.config\/rbee\/config\.toml$/),
      '/nowhere/etc/rbee/config.toml',
    ]);
    const found = settingsWith({ userFile: '' });
    expect(found.configSearched).toEqual([found.configFile]);
  });

  it("leaves the daemons' keys to the daemons", () => {
    expect(settingsWith({ userFile: '[paths]\nmodels_dir = "/m"\n[timeouts]\ndrain = "1s"' }).queenPort).toBe(8080);
  });

  it.each<[string, Parameters<typeof settingsWith>[0], string]>([
    ['a missing file', { flags: { config: 'missing.toml' } }, 'missing.toml'],
    ['a file that is no TOML', { userFile: 'queen = = 1' }, 'config.toml'],
    ['an unknown section', { userFile: '[quen]\nurl = "x"' }, 'quen.url'],
    [
      'a key that only the hive reads',
      { userFile: '[limits]\nmax_workers = "many"' },
      'config.toml: limits.max_workers',
    ],
    ['a mistyped key', { userFile: '[paths]\nmodel_dir = "/m"' }, 'did you mean paths.models_dir?'],
    ['an address that is none', { flags: { 'queen-url': 'nonsense' } }, '--queen-url'],
    ['a port out of range', { variables: { RBEE_QUEEN_PORT: '80' } }, 'RBEE_QUEEN_PORT'],
  ])('refuses %s', (_name, parts, says) => {
    expect(() => settingsWith(parts)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(says) }),
    );
  });
});
