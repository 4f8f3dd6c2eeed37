import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { processEnvironment } from '@rbee/daemon-kit';
import { type HiveFlags, loadHiveConfig } from './config.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'rbee-config-'));
});
afterEach(() => rmSync(home, { recursive: true }));

const load = (variables: Record<string, string> = {}, flags: HiveFlags = {}) =>
  loadHiveConfig({ ...processEnvironment(), home, cwd: home, variables }, flags);

function writeConfig(text: string, path = join(home, '.config/rbee/config.toml')): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

describe('loadHiveConfig', () => {
  it('has defaults for everything', () => {
    expect(load()).toMatchObject({
      host: '127.0.0.1',
      port: 9200,
      key: undefined,
      modelsDir: join(home, '.local/share/rbee/models'),
      modelRoots: [join(home, '.local/share/rbee/models')],
      catalogDb: join(home, '.rbee/models.db'),
      logDir: join(home, '.rbee/logs'),
      runDir: join(home, '.rbee/run'),
      workerHost: '127.0.0.1',
      workerPortStart: 8001,
      owned: false,
      probeFile: undefined,
      timeouts: { worker_startup: 30_000, idle_worker: 300_000, health_poll: 30_000, owner_lost: 120_000 },
    });
  });

  it('takes flags before the environment before the file', () => {
    writeConfig(
      '[pool]\nname = "mine"\nlisten_addr = "127.0.0.1:9301"\n[timeouts]\nidle_worker = "1m"\nhealth_poll = "10s"\n',
    );
    expect(load()).toMatchObject({ port: 9301, timeouts: { idle_worker: 60_000, health_poll: 10_000 } });
    expect(load({ RBEE_HIVE_PORT: '9302', RBEE_T_IDLE_WORKER: '2s' })).toMatchObject({
      port: 9302,
      timeouts: { idle_worker: 2000 },
    });
    expect(load({ RBEE_HIVE_PORT: '9302' }, { port: '9303' })).toMatchObject({ port: 9303 });
    expect(load({}, { addr: '127.0.0.2:9304', owned: true })).toMatchObject({
      host: '127.0.0.2',
      port: 9304,
      owned: true,
    });
    expect(load({}, { addr: '127.0.0.2:9304', port: '9305' })).toMatchObject({ host: '127.0.0.2', port: 9305 });
  });

  it('takes folders from the environment', () => {
    const config = load({
      RBEE_MODELS_DIR: '/data/models',
      RBEE_MODEL_ROOTS: '/mnt/a:models:',
      RBEE_CATALOG_DB: '/data/m.db',
    });
    expect(config).toMatchObject({
      modelsDir: '/data/models',
      modelRoots: ['/data/models', '/mnt/a', join(home, 'models')],
      catalogDb: '/data/m.db',
    });
  });

  it.each([
    ['127.0.0.1', undefined, '127.0.0.1'],
    ['127.0.0.2', undefined, '127.0.0.1'],
    ['localhost', undefined, '127.0.0.1'],
    ['::1', undefined, '127.0.0.1'],
    ['192.168.1.20', undefined, '192.168.1.20'],
    ['0.0.0.0', undefined, '0.0.0.0'],
    ['192.168.1.20', '127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', '192.168.1.20', '192.168.1.20'],
  ])('lets the workers of a hive on %s, told %s, listen on %s', (host, told, workerHost) => {
    const keyFile = join(home, 'key');
    writeFileSync(keyFile, 'secret\n', { mode: 0o600 });
    const variables = { RBEE_HIVE_TOKEN_FILE: keyFile, ...(told && { RBEE_WORKER_HOST: told }) };
    expect(load(variables, { host })).toMatchObject({ host, workerHost });
  });

  it('reports all problems together', () => {
    writeConfig('[limits]\nslots_per_worker = 0\n[paths]\nmodel_dir = "/x"\n');
    expect(() => load({ RBEE_HIVE_PORT: '80', RBEE_LOG_LEVEL: 'loud' })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(
          /4 problems.*slots_per_worker.*from 1 to 256.*paths\.model_dir: unknown key; did you mean paths\.models_dir.*RBEE_HIVE_PORT.*1024 to 65535.*RBEE_LOG_LEVEL.*one of/s,
        ),
      }),
    );
  });

  it('tells what is wrong with a key file, and that one is missing, with everything else', () => {
    const keyFile = join(home, 'key');
    writeFileSync(keyFile, 'secret\n', { mode: 0o644 });
    writeConfig(`[auth]\nhive_token_file = "${keyFile}"\n[queen]\nport = "x"\n`);
    const refused = (message: RegExp) =>
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) });
    expect(() => load()).toThrow(refused(/2 problems.*queen\.port.*auth\.hive_token_file: the key file .*0644/s));
    writeConfig('[queen]\nport = "x"\n');
    const open = /2 problems.*queen\.port.*auth\.hive_token_file: expected the path of a file with a key/s;
    expect(() => load({}, { host: '0.0.0.0' })).toThrow(refused(open));
  });

  it('takes the paths of a file from the folder of the file, and those in the home folder', () => {
    mkdirSync(join(home, 'etc'));
    writeConfig('[paths]\nmodels_dir = "models"\nlog_dir = "~/logs"\n', join(home, 'etc', 'own.toml'));
    expect(load({}, { config: 'etc/own.toml' })).toMatchObject({
      modelsDir: join(home, 'etc', 'models'),
      logDir: join(home, 'logs'),
    });
  });

  it.each([
    ['a bad port flag', {}, { port: 'nine' }],
    ['a bad address', {}, { addr: 'localhost' }],
    ['a named file that is missing', { RBEE_CONFIG: '/nowhere/config.toml' }, {}],
    ['a public address without a key', {}, { host: '0.0.0.0' }],
  ])('refuses %s', (_what, variables, flags) => {
    expect(() => load(variables, flags)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('refuses a file that is not TOML', () => {
    writeConfig('[pool\n', join(home, 'bad.toml'));
    expect(() => load({}, { config: 'bad.toml' })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('listens publicly with a key from a private file', () => {
    const keyFile = join(home, 'key');
    writeFileSync(keyFile, 'secret\n', { mode: 0o600 });
    writeConfig(`[auth]\napi_token_file = "${keyFile}"\n`);
    expect(load({}, { host: '0.0.0.0' }).key?.current.matches('secret')).toBe(true);
    const ownFile = join(home, 'hive-key');
    writeFileSync(ownFile, 'own\n', { mode: 0o600 });
    writeConfig(`[auth]\napi_token_file = "${keyFile}"\nhive_token_file = "${ownFile}"\n`, join(home, 'both.toml'));
    expect(load({}, { config: 'both.toml' }).key?.current.matches('own')).toBe(true);
    const variables = { RBEE_HIVE_TOKEN_FILE: ownFile };
    expect(load(variables, { host: '0.0.0.0' }).key?.current.matches('own')).toBe(true);
    chmodSync(keyFile, 0o644);
    expect(() => load({}, { host: '0.0.0.0' })).toThrow(/0644/);
  });
});
