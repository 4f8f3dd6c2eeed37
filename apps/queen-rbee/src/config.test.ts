import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Environment, processEnvironment } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import { readSettings, type SettingFlags } from './config.js';

describe('readSettings', () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'queen-config-'));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const read = (variables: Environment['variables'] = {}, flags: SettingFlags = {}) =>
    readSettings({ ...processEnvironment(), home, variables }, flags);
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
      '[pool]\nname = "x"\n[paths]\nmodels_dir = "/m"\n[remote]\nbinary_path = "/b"\n[audit]\nmode = "off"\n',
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
    writeConfig('[auth]\napi_token_file = "/keys/queen"\n');
    expect(read({}, { host: '0.0.0.0' })).toMatchObject({ host: '0.0.0.0', apiTokenFile: '/keys/queen' });
    expect(read()).toMatchObject({ hiveTokenFile: '/keys/queen' });
    writeConfig('[auth]\napi_token_file = "/keys/queen"\nhive_token_file = "/keys/hive"\n');
    expect(read()).toMatchObject({ apiTokenFile: '/keys/queen', hiveTokenFile: '/keys/hive' });
  });
});
