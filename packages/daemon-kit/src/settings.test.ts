import { describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import { parseConfigFile } from './config-file.js';
import { resolveSettings, type SettingSources, setting, settingSchema } from './settings.js';
import { DEFAULT_TIMEOUTS, timeoutSettings } from './timeouts.js';

const table = {
  hivePort: setting<number>({
    schema: settingSchema.port,
    default: 9200,
    env: ['RBEE_HIVE_PORT', 'RBEE_POOL_PORT'],
    file: 'pool.port',
  }),
  slots: setting<number>({
    schema: settingSchema.count,
    default: 4,
    env: ['RBEE_SLOTS'],
    file: 'limits.slots_per_worker',
  }),
  modelsDir: setting<string>({
    schema: settingSchema.text,
    default: '/models',
    env: ['RBEE_MODELS_DIR'],
    file: 'paths.models_dir',
  }),
  keepAlive: setting<number>({ schema: settingSchema.duration, default: 0, file: 'queen.keep_alive' }),
  verbose: setting<boolean>({ schema: settingSchema.flag, default: false, env: ['RBEE_VERBOSE'] }),
};

const resolve = (sources: Partial<SettingSources>, known: string[] = []) =>
  resolveSettings(table, { variables: {}, ...sources }, known);
const file = (content: Record<string, unknown>) => ({ name: 'config.toml', content });

function problemsOf(sources: Partial<SettingSources>) {
  try {
    resolve(sources);
  } catch (error) {
    return error as RbeeError;
  }
  throw new Error('the settings were accepted');
}

describe('a setting', () => {
  it('comes from flag, environment, file and default, in this order', () => {
    const sources = {
      flags: { hivePort: 1111 },
      variables: { RBEE_HIVE_PORT: '2222', RBEE_SLOTS: '2' },
      file: file({ pool: { port: 3333 }, limits: { slots_per_worker: 3 }, paths: { models_dir: '/file' } }),
    };
    expect(resolve(sources)).toEqual({
      values: { hivePort: 1111, slots: 2, modelsDir: '/file', keepAlive: 0, verbose: false },
      origins: { hivePort: 'flag', slots: 'environment', modelsDir: 'file', keepAlive: 'default', verbose: 'default' },
    });
  });

  it('comes from the first of its variables that is set; an empty one is not', () => {
    expect(resolve({ variables: { RBEE_HIVE_PORT: '', RBEE_POOL_PORT: '5555' } }).values.hivePort).toBe(5555);
    expect(resolve({ variables: { RBEE_HIVE_PORT: '4444', RBEE_POOL_PORT: '5555' } }).values.hivePort).toBe(4444);
  });

  it('is text in the environment and typed in the file', () => {
    expect(resolve({ variables: { RBEE_VERBOSE: 'true' } }).values.verbose).toBe(true);
    expect(resolve({ variables: { RBEE_VERBOSE: '0' } }).values.verbose).toBe(false);
    expect(resolve({ flags: { verbose: true } }).values.verbose).toBe(true);
    expect(resolve({ file: file({ queen: { keep_alive: '10m' } }) }).values.keepAlive).toBe(600_000);
    expect(resolve({ file: file({ queen: { keep_alive: 250 } }) }).values.keepAlive).toBe(250);
  });

  it('cannot be changed any more', () => {
    const { values } = resolve({});
    expect(() => Object.assign(values, { slots: 9 })).toThrow(TypeError);
  });
});

describe('problems', () => {
  it('are reported all at once, each with where it came from', () => {
    const error = problemsOf({
      flags: { hivePort: 80 },
      variables: { RBEE_SLOTS: 'many', RBEE_VERBOSE: 'perhaps' },
      file: file({ queen: { keep_alive: 'soon' }, pool: { prot: 1 } }),
    });
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      details: {
        file: 'config.toml',
        problems: [
          { key: '--hive-port', origin: 'flag', message: 'must be 1024 to 65535' },
          { key: 'RBEE_SLOTS', origin: 'environment', message: 'must be a whole number' },
          { key: 'queen.keep_alive', origin: 'file', message: expect.stringContaining('30s') },
          { key: 'RBEE_VERBOSE', origin: 'environment', message: 'must be true or false' },
          { key: 'pool.prot', origin: 'file', message: 'unknown key' },
        ],
      },
    });
    expect(error.message).toContain('RBEE_SLOTS (environment)');
  });

  it.each([
    [{ pool: { port: '65536' } }],
    [{ pool: { port: true } }],
    [{ pool: { port: [8080] } }],
    [{ pool: { port: 8080.5 } }],
    [{ limits: { slots_per_worker: -1 } }],
    [{ limits: { slots_per_worker: '' } }],
    [{ paths: { models_dir: 5 } }],
    [{ paths: { models_dir: '' } }],
    [{ queen: { keep_alive: -1 } }],
    [{ queen: { keep_alive: '-1s' } }],
    [{ queen: { keep_alive: Number.POSITIVE_INFINITY } }],
  ])('are values of another kind: %j', (content) => {
    expect(problemsOf({ file: file(content) }).details.problems).toHaveLength(1);
  });

  it('are keys that nobody knows, but not those of others', () => {
    const content = { stray: 1, pool: { name: 'x' }, audit: { mode: 'local' } };
    expect(problemsOf({ file: file(content) }).details.problems).toMatchObject([
      { key: 'stray' },
      { key: 'pool.name' },
      { key: 'audit.mode' },
    ]);
    expect(() => resolve({ file: file(content) }, ['stray', 'pool.name', 'audit.*'])).not.toThrow();
  });

  it('are no variables of others', () =>
    expect(() => resolve({ variables: { RBEE_UNKNOWN: 'x', PATH: '/bin' } })).not.toThrow());
});

describe('a configuration file', () => {
  it('is TOML', () => {
    const content = parseConfigFile('config.toml', '# ports\n[pool]\nport = 9300\n\n[queen]\nkeep_alive = "10m"\n');
    expect(resolve({ file: { name: 'config.toml', content } }).values).toMatchObject({
      hivePort: 9300,
      keepAlive: 600_000,
    });
  });

  it('that is not is refused with its line, and not quoted', () => {
    expect(() => parseConfigFile('config.toml', '[pool]\nport = 9300\nkey = s3cret x\n')).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/^config\.toml is not valid TOML, line 3: (?!.*s3cret)/),
        details: expect.objectContaining({ file: 'config.toml', line: 3 }),
        suggestion: expect.stringContaining('config.toml'),
      }),
    );
  });
});

describe('every time limit', () => {
  const limits = (variables: Record<string, string>, content: Record<string, unknown> = {}) =>
    resolveSettings(timeoutSettings, { variables, file: file(content) }).values;

  it('has a default, a variable and a key', () => {
    expect(limits({})).toEqual(DEFAULT_TIMEOUTS);
    for (const name of Object.keys(DEFAULT_TIMEOUTS) as (keyof typeof DEFAULT_TIMEOUTS)[]) {
      expect(limits({ [`RBEE_T_${name.toUpperCase()}`]: '7ms' })[name]).toBe(7);
      expect(limits({}, { timeouts: { [name]: '2s' } })[name]).toBe(2000);
    }
  });

  it('is as published', () => {
    expect(DEFAULT_TIMEOUTS).toMatchObject({
      connect: 5_000,
      call: 10_000,
      hive_healthy: 60_000,
      local_hive_healthy: 10_000,
      queen_healthy: 30_000,
      queen_probe: 500,
      spawn_answer: 35_000,
      worker_startup: 30_000,
      model_load: 300_000,
      first_byte: 300_000,
      stall: 60_000,
      cancel_ack: 5_000,
      health_poll: 30_000,
      health_call: 5_000,
      heartbeat: 30_000,
      heartbeat_stale: 120_000,
      idle_worker: 300_000,
      shutdown_ack: 5_000,
      drain: 30_000,
      kill: 10_000,
      hive_shutdown: 30_000,
      queen_waits_for_hives: 35_000,
      keeper_waits_for_queen: 40_000,
      keep_alive: 10_000,
      inference: 300_000,
    });
  });
});
