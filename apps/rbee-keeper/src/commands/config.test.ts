import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { parseConfigFile } from '@rbee/daemon-kit/client';
import type { KeeperOptions } from '../testing/start-keeper.js';
import { makeFolder, removeFolders, runKeeper } from '../testing/start-keeper.js';

afterEach(removeFolders);

const TOKEN = 'hf_abcdefghijklmnop';

/** Runs a command beside a configuration file of the user; no file of this machine's system is looked at. */
function run(args: string[], file?: string, variables: KeeperOptions['variables'] = {}) {
  const home = makeFolder();
  const folder = join(home, '.config', 'rbee');
  mkdirSync(folder, { recursive: true });
  if (file !== undefined) writeFileSync(join(folder, 'config.toml'), file);
  return runKeeper(['config', ...args], { home, variables: { RBEE_SYSTEM_ROOT: home, ...variables } });
}

/** The line of a table that begins with a key, its cells. */
function rowOf(table: string, key: string): string[] | undefined {
  const line = table.split('\n').find((each) => each.startsWith(`${key} `));
  return line?.split(/ {2,}/);
}

describe('config show', () => {
  it('has every setting with its value, and says which file there is', async () => {
    const file = '[queen]\nport = 8090\n[timeouts]\nidle_worker = "15m"\n';
    const { code, stdout, stderr, home } = await run(['show'], file);
    expect([code, stderr]).toEqual([0, `[rbee-keeper] configuration file: ${home}/.config/rbee/config.toml\n`]);
    expect(rowOf(stdout, 'KEY')).toEqual(['KEY', 'VALUE']);
    expect(rowOf(stdout, 'queen.port')).toEqual(['queen.port', '8090']);
    expect(rowOf(stdout, 'queen.url')).toEqual(['queen.url', 'from queen.port']);
    expect(rowOf(stdout, 'timeouts.idle_worker')).toEqual(['timeouts.idle_worker', '15 min']);
    expect(rowOf(stdout, 'paths.models_dir')).toEqual(['paths.models_dir', `${home}/.local/share/rbee/models`]);
    expect(rowOf(stdout, 'RBEE_HIVE_PORT')).toEqual(['RBEE_HIVE_PORT', '9200']);
  });

  it('tells where each value is from, and what it hides', async () => {
    const file = '[queen]\nport = 8090\n[limits]\nmax_workers = 3\n[metrics]\npublic = true\n';
    const args = ['show', '--origin', '--queen-url', 'http://hub:8080'];
    const { stdout, home } = await run(args, file, { RBEE_QUEEN_PORT: '8091' });
    const name = `${home}/.config/rbee/config.toml`;
    expect(rowOf(stdout, 'queen.url')).toEqual(['queen.url', 'http://hub:8080', '--queen-url']);
    expect(rowOf(stdout, 'queen.port')).toEqual(['queen.port', '8091', `RBEE_QUEEN_PORT (hides 8090 of ${name})`]);
    expect(rowOf(stdout, 'limits.max_workers')).toEqual(['limits.max_workers', '3', name]);
    expect(rowOf(stdout, 'metrics.public')).toEqual([
      'metrics.public',
      'true',
      `${name} (has no effect in this version)`,
    ]);
    expect(rowOf(stdout, 'queen.host')).toEqual(['queen.host', '127.0.0.1', 'default']);
  });

  it('says where it looked, where there is no file', async () => {
    const { code, stderr, home } = await run(['show']);
    const places = [join(home, '.config/rbee/config.toml'), join(home, 'etc/rbee/config.toml')];
    expect([code, stderr]).toEqual([0, `[rbee-keeper] no configuration file; looked for ${places[0]}, ${places[1]}\n`]);
  });

  it('is an object for programs', async () => {
    const file = '[queen]\nport = 8090\nkeep_alive = "10m"\n';
    const { stdout, stderr, home } = await run(['show', '--json'], file, { RBEE_QUEEN_PORT: '8091' });
    const { settings, ...about } = JSON.parse(stdout) as { settings: { key: string }[] };
    const name = `${home}/.config/rbee/config.toml`;
    expect([about, stderr]).toEqual([{ file: name, searched: [name] }, '']);
    const row = (key: string) => settings.find((each) => each.key === key);
    expect(row('queen.port')).toEqual({
      key: 'queen.port',
      value: 8091,
      origin: 'environment',
      source: 'RBEE_QUEEN_PORT',
      hides: '8090',
      read_by: ['rbee-keeper', 'queen-rbee'],
      reload: 'restart',
    });
    expect(row('queen.keep_alive')).toMatchObject({ value: 600_000, origin: 'file', source: name, reload: 'live' });
    expect(row('limits.max_workers')).toMatchObject({ value: null, origin: 'default' });
  });

  it('shows no secret, and reads no key @L177', async () => {
    const file = `[hub]\nendpoint = "https://me:${TOKEN}@hub.home.arpa"\n[auth]\napi_token_file = "key"\n`;
    const how = { HF_TOKEN: TOKEN };
    for (const args of [
      ['show', '--origin'],
      ['show', '--json'],
    ]) {
      const { code, stdout, stderr, home } = await run(args, file, how);
      expect([code, stdout + stderr]).toEqual([0, expect.not.stringContaining(TOKEN)]);
      expect(stdout).toContain('[REDACTED]');
      // There is no such file.
      expect(stdout).toContain(`${home}/.config/rbee/key`);
    }
  });

  it('tells of all mistakes together, whichever program reads them @L175', async () => {
    const file = '[limits]\nmax_workers = "many"\n[paths]\nmodel_dir = "/m"\n';
    const { code, stdout, stderr, home } = await run(['show'], file, { RBEE_WORKER_PORT_START: '80' });
    const name = `${home}/.config/rbee/config.toml`;
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('(3 problems)');
    expect(stderr).toContain(`${name}: limits.max_workers: expected a whole number of at least 1\n`);
    expect(stderr).toContain(`${name}: paths.model_dir: unknown key; did you mean paths.models_dir?\n`);
    expect(stderr).toContain('environment: RBEE_WORKER_PORT_START: expected a port (1024 to 65535)\n');
  });

  it('warns of a variable that nobody reads', async () => {
    const { code, stderr } = await run(['show'], undefined, { RBEE_QUEN_PORT: '8090' });
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining('RBEE_QUEN_PORT is set, and no program of rbee reads it; did you mean RBEE_QUEEN_PORT?'),
    ]);
  });
});

describe('config example', () => {
  it('prints a file that can be used, also where the present one is broken', async () => {
    const { code, stdout, stderr } = await run(['example'], 'queen = = 1');
    expect([code, stderr]).toEqual([0, '']);
    expect(Object.keys(parseConfigFile('the example', stdout))).toContain('timeouts');
  });

  it('is a field of an object for programs', async () => {
    const { stdout } = await run(['example', '--json']);
    expect((JSON.parse(stdout) as { example: string }).example).toBe((await run(['example'])).stdout);
  });
});
