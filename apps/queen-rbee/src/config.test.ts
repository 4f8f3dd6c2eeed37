import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Environment, processEnvironment } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import { openConfiguration, type QueenConfiguration, type SettingFlags } from './config.js';

describe('openConfiguration', () => {
  let home: string;
  let opened: QueenConfiguration[];

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'queen-config-'));
    opened = [];
  });
  afterEach(() => {
    for (const { key } of opened) key?.close();
    rmSync(home, { recursive: true, force: true });
  });

  const open = (variables: Environment['variables'] = {}, flags: SettingFlags = {}) => {
    const configuration = openConfiguration({ ...processEnvironment(), home, variables }, flags);
    opened.push(configuration);
    return configuration;
  };
  const read = (variables: Environment['variables'] = {}, flags: SettingFlags = {}) => open(variables, flags).settings;
  const writeKey = (name: string, key = name) => {
    const file = join(home, `${name}.key`);
    writeFileSync(file, `${key}\n`, { mode: 0o600 });
    return file;
  };
  const writeConfig = (text: string) => {
    mkdirSync(join(home, '.config', 'rbee'), { recursive: true });
    writeFileSync(join(home, '.config', 'rbee', 'config.toml'), text);
  };
  const failure = (act: () => unknown): RbeeError => {
    try {
      act();
    } catch (error) {
      return error as RbeeError;
    }
    throw new Error('nothing was refused');
  };

  it('has defaults for everything', () => {
    expect(read()).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      hivePort: 9200,
      ephemeral: false,
      keepAlive: 0,
      startGrace: 10_000,
      queueLength: 256,
      logDir: join(home, '.rbee', 'logs'),
      logLevel: 'info',
      configFile: undefined,
      timeouts: { stall: 60_000, slot_wait: 300_000, cancel_ack: 5_000 },
    });
  });

  it('takes flags before the environment, the environment before the file', () => {
    writeConfig('[queen]\nport = 7001\nhost = "localhost"\nkeep_alive = "5m"\n[timeouts]\nstall = "7s"\ncall = "9s"\n');
    const variables = { RBEE_QUEEN_PORT: '7002', RBEE_T_STALL: '8s', RBEE_HIVE_PORT: '9300', RBEE_LOG_LEVEL: 'debug' };
    expect(read(variables, { port: '7003' })).toMatchObject({
      port: 7003,
      host: 'localhost',
      keepAlive: 300_000,
      hivePort: 9300,
      logLevel: 'debug',
      timeouts: { stall: 8_000, call: 9_000 },
      configFile: join(home, '.config', 'rbee', 'config.toml'),
    });
  });

  it('accepts the sections of the other processes', () => {
    writeConfig(
      '[pool]\nname = "x"\n[paths]\nmodels_dir = "/m"\n[remote]\nbinary_path = "/b"\n[audit]\nmode = "local"\n',
    );
    expect(read().port).toBe(8080);
  });

  it('reports every problem at once', () => {
    writeConfig('[queen]\nprot = 1\n[timeouts]\nstal = "7s"\n');
    const { code, message } = failure(() => read({ RBEE_QUEEN_PORT: '80', RBEE_LOG_LEVEL: 'loud' }));
    expect(code).toBe('CONFIG_INVALID');
    for (const part of ['queen.prot', 'timeouts.stal', 'RBEE_QUEEN_PORT', '1024 to 65535', 'RBEE_LOG_LEVEL']) {
      expect(message).toContain(part);
    }
  });

  it('reports a file that was asked for and is not there', () => {
    const error = failure(() => read({}, { config: join(home, 'none.toml') }));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('ENOENT') });
  });

  it('refuses an address that others can reach when there is no key', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.5', '1270.0.0.1']) {
      expect(failure(() => read({}, { host }))).toMatchObject({
        code: 'CONFIG_INVALID',
        suggestion: expect.stringContaining('key'),
      });
    }
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) expect(read({}, { host }).host).toBe(host);
  });

  it('takes its key, and that of the hive, from files, of which neither stands for the other', () => {
    const [queen, hive, other] = [writeKey('queen'), writeKey('hive'), writeKey('other')];
    writeConfig(`[auth]\napi_token_file = "${queen}"\n`);
    const { settings, key } = open({}, { host: '0.0.0.0' });
    expect(settings).toMatchObject({ host: '0.0.0.0', hiveTokenFile: undefined });
    expect(key?.source).toEqual({ kind: 'file', path: queen });
    writeConfig(`[auth]\napi_token_file = "${queen}"\nhive_token_file = "${hive}"\n`);
    expect(read()).toMatchObject({ hiveTokenFile: hive });
    expect(read({ RBEE_HIVE_TOKEN_FILE: other })).toMatchObject({ hiveTokenFile: other });
    writeConfig(`[auth]\nhive_token_file = "${hive}"\n`);
    expect(open().key).toBeUndefined();
    writeConfig(`[auth]\napi_token_file = "~/none.key"\n[limits]\nmax_workers = 0\n`);
    const { message } = failure(() => read());
    expect(message).toMatch(/2 problems.*limits\.max_workers.*auth\.api_token_file: the key file .*none\.key.*ENOENT/s);
  });

  it('changes the settings that are live at a reload, and tells which wait for a restart', () => {
    writeConfig('[queen]\nport = 7001\nkeep_alive = "1m"\n');
    const { settings, live } = open();
    writeConfig(
      '[queen]\nport = 7002\nkeep_alive = "2m"\n[limits]\nqueue_length = 5\n[log]\nlevel = "debug"\n[timeouts]\nstall = "7s"\n',
    );
    const report = live.reload();
    expect(report.changed.map(({ key }) => key).sort()).toEqual(
      ['limits.queue_length', 'log.level', 'queen.keep_alive', 'timeouts.stall'].sort(),
    );
    expect(report.needsRestart).toEqual([{ key: 'queen.port', from: '7001', to: '7002' }]);
    expect(settings).toMatchObject({ port: 7001, keepAlive: 120_000, queueLength: 5, logLevel: 'debug' });
    expect(settings.timeouts.stall).toBe(7_000);
    // As it is handed to a process that copies a model.
    expect(JSON.parse(JSON.stringify(settings.timeouts))).toMatchObject({ stall: 7_000, call: 10_000 });
  });

  it('changes nothing at a reload when there is a mistake, also one in the key file of the hive', () => {
    const [queen, hive] = [writeKey('queen'), writeKey('hive')];
    const auth = `[auth]\napi_token_file = "${queen}"\nhive_token_file = "${hive}"\n`;
    writeConfig(auth);
    const { settings, live } = open();
    writeFileSync(hive, 'one\ntwo\n');
    writeConfig(`[limits]\nqueue_length = 5\n${auth}`);
    expect(live.reload().error?.message).toMatch(/auth\.hive_token_file: the key file .* has more than one line/);
    expect(settings.queueLength).toBe(256);
    writeFileSync(hive, 'two\n');
    expect(live.reload().error).toBeUndefined();
    expect(settings.queueLength).toBe(5);
  });

  it('looks for the hive at the port that the configuration gives the hive', () => {
    writeConfig('[pool]\nlisten_addr = "127.0.0.1:9300"\n');
    expect(read()).toMatchObject({ hivePort: 9300 });
    expect(read({ RBEE_HIVE_PORT: '9301' })).toMatchObject({ hivePort: 9301 });
  });
});
