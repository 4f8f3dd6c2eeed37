import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { problemsOfKey } from './bind-policy.js';
import { findConfigFile } from './find-config-file.js';
import { LiveSettings } from './live-settings.js';
import { setting, settingType } from './setting.js';
import { pick } from './setting-catalogue.js';
import { resolveSettings } from './settings.js';
import { ManualClock } from './testing/manual-clock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-live-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const table = {
  ...pick('queenPort', 'keepAlive', 'maxWorkers', 'apiTokenFile', 'stall', 'listenAddr', 'logLevel'),
  token: setting<string | undefined>({
    ...settingType.text,
    default: undefined,
    env: ['HF_TOKEN'],
    secret: true,
    reload: 'live',
  }),
};

const write = (text: string) => writeFileSync(join(folder, 'config.toml'), text);
const writeKey = (text: string, mode = 0o600) => {
  rmSync(join(folder, 'key'), { force: true });
  writeFileSync(join(folder, 'key'), text, { mode });
};

function start(variables: Record<string, string> = {}) {
  const environment = { variables, home: folder, cwd: folder };
  const read = () => {
    const { file } = findConfigFile(environment, 'config.toml');
    const resolved = resolveSettings(table, { ...environment, file }, ({ values, origins }) => {
      const path = values.apiTokenFile;
      const { origin } = origins.apiTokenFile;
      return problemsOfKey(path === undefined ? path : { kind: 'file', path }, { key: 'auth.api_token_file', origin });
    });
    return { resolved, file: file?.name };
  };
  return new LiveSettings(table, read, new ManualClock());
}

/** Everything that a daemon reads of its settings. */
const seen = (live: ReturnType<typeof start>) => ({ ...live.values });

describe('settings', () => {
  it('are read at the start, and the report says from where', () => {
    write('[queen]\nport = 7001\n[timeouts]\nstall = "7s"\n');
    const live = start({ RBEE_T_STALL: '8s', RBEE_LOG_LEVEL: 'debug' });
    expect(live.values).toMatchObject({ queenPort: 7001, stall: 8000, logLevel: 'debug' });
    expect(live.loaded).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4/),
      kind: 'load',
      file: join(folder, 'config.toml'),
      durationMs: 0,
      configured: 3,
      overridden: [
        { key: 'timeouts.stall', by: 'environment', source: 'RBEE_T_STALL', value: '8 s', fileValue: '7 s' },
      ],
      changed: [],
      needsRestart: [],
    });
  });

  it('that are wrong at the start are thrown', () => {
    write('[queen]\nport = 1\n');
    expect(() => start()).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('that may change do so at a reload, others wait for a restart', () => {
    write('[queen]\nport = 7001\n[limits]\nmax_workers = 1\n');
    const live = start();
    let told = 0;
    const forget = live.onChanged(() => {
      // Who is told sees the new values.
      expect(live.values.maxWorkers).toBe(2 - told);
      told += 1;
    });
    write('[queen]\nport = 7002\n[limits]\nmax_workers = 2\n[pool]\nlisten_addr = "[::1]:9300"\n');
    const report = live.reload();
    expect(report).toMatchObject({
      kind: 'reload',
      changed: [{ key: 'limits.max_workers', from: '1', to: '2' }],
      needsRestart: [
        { key: 'queen.port', from: '7001', to: '7002' },
        { key: 'pool.listen_addr', from: 'none', to: '[::1]:9300' },
      ],
    });
    expect(report.id).not.toBe(live.loaded.id);
    expect(live.values).toMatchObject({ queenPort: 7001, maxWorkers: 2, listenAddr: undefined });
    // What waits for a restart is told each time, what has changed once.
    expect(live.reload()).toMatchObject({ changed: [], needsRestart: [{ key: 'queen.port' }, {}] });
    expect(told).toBe(1);
    write('[limits]\nmax_workers = 1\n');
    expect(live.reload()).toMatchObject({
      changed: [{ from: '2', to: '1' }],
      needsRestart: [{ from: '7001', to: '8080' }],
    });
    forget();
    write('');
    expect(live.reload().changed).toEqual([{ key: 'limits.max_workers', from: '1', to: 'none' }]);
    expect(told).toBe(2);
  });

  it('that a variable sets stay as the variable says', () => {
    write('[queen]\nkeep_alive = "1s"\n');
    const live = start({ RBEE_KEEP_ALIVE: '5s' });
    write('[queen]\nkeep_alive = "2s"\n');
    expect(live.reload()).toMatchObject({ changed: [], overridden: [{ key: 'queen.keep_alive', fileValue: '2 s' }] });
    expect(live.values.keepAlive).toBe(5000);
  });

  it('that are secret are told without their value', () => {
    write('');
    const variables: Record<string, string> = { HF_TOKEN: 's3cret-1' };
    const live = start(variables);
    variables.HF_TOKEN = 's3cret-2';
    const report = live.reload();
    expect(report.changed).toEqual([{ key: 'HF_TOKEN', from: '[REDACTED]', to: '[REDACTED]' }]);
    expect(JSON.stringify([live.loaded, report])).not.toContain('s3cret');
  });

  it('cannot be changed by who reads them', () => {
    write('');
    const { values } = start();
    expect(() => Object.assign(values, { maxWorkers: 5 })).toThrow(TypeError);
  });
});

/** Changes of the configuration that are no mistakes, and ones that are. */
const right = fc.oneof(
  fc.integer({ min: 1, max: 9 }).map((count) => `[limits]\nmax_workers = ${count}\n`),
  fc.integer({ min: 1024, max: 65_535 }).map((port) => `[queen]\nport = ${port}\nkeep_alive = ${port}\n`),
  fc.constantFrom('info', 'debug').map((level) => `[log]\nlevel = "${level}"\n[timeouts]\nstall = "3s"\n`),
  fc.constant('[auth]\napi_token_file = "key"\n'),
);
const wrong = fc.constantFrom(
  '[limits]\nmax_workers = "many"\n',
  '[queen]\nport = 80\nkeep_alive = "1s"\n',
  '[queue]\nlength = 1\n',
  '[auth]\napi_token_file = "none"\n[limits]\nmax_workers = 7\n',
  '[limits\n',
  '[hub]\nendpoint = 5\n[log]\nlevel = "debug"\n',
);
const step = fc.record({
  text: fc.oneof(right, wrong),
  key: fc.constantFrom<[string, number]>(['a', 0o600], ['b', 0o600], ['c', 0o644], ['', 0o600]),
});

it('a reload takes everything or nothing, whatever came before', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      write('');
      writeKey('first');
      const live = start();
      const { queenPort, listenAddr, apiTokenFile } = live.values;
      const first = { queenPort, listenAddr, apiTokenFile };
      let told = 0;
      live.onChanged(() => {
        told += 1;
      });
      for (const { text, key } of steps) {
        write(text);
        writeKey(...key);
        const [before, toldBefore] = [seen(live), told];
        const report = live.reload();
        if (report.error) {
          expect(report).toMatchObject({ changed: [], needsRestart: [], error: { code: 'CONFIG_INVALID' } });
          expect([seen(live), told]).toEqual([before, toldBefore]);
        } else {
          const fresh = start();
          expect(seen(live)).toEqual({ ...seen(fresh), ...first });
          expect(told - toldBefore).toBe(report.changed.length > 0 ? 1 : 0);
        }
      }
    }),
    { numRuns: 100 },
  );
});
