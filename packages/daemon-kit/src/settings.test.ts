import { describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import { parseConfigFile } from './config-file.js';
import { setting, settingType } from './setting.js';
import { pick, settingCatalogue } from './setting-catalogue.js';
import { resolveSettings, type SettingCheck, type SettingSources } from './settings.js';
import { DEFAULT_TIMEOUTS, timeoutSettings } from './timeouts.js';

const { text, port, count, duration, flag, path, listenAddress, httpAddress, positive } = settingType;

/** Settings of the catalogue, and some that stand in no catalogue. */
const table = {
  ...pick('queenPort', 'keepAlive', 'modelsDir', 'apiTokenFile'),
  hivePort: settingCatalogue.hivePort,
  slots: setting<number>({ ...count(1, 9), default: 4, env: ['RBEE_SLOTS'], file: 'test.slots' }),
  verbose: setting<boolean>({ ...flag, default: false, env: ['RBEE_VERBOSE'] }),
  token: setting<string | undefined>({ ...text, default: undefined, env: ['TOKEN'], file: 'test.token', secret: true }),
};

const surroundings = { variables: {}, home: '/home/me', cwd: '/here' };
const FILE = '/etc/rbee/config.toml';
const file = (content: Record<string, unknown>) => ({ name: FILE, content });
const resolve = (sources: Partial<SettingSources> = {}, check?: SettingCheck<typeof table>) =>
  resolveSettings(table, { ...surroundings, ...sources }, check);

function refusal(sources: Partial<SettingSources>, check?: SettingCheck<typeof table>): RbeeError {
  try {
    resolve(sources, check);
  } catch (error) {
    return error as RbeeError;
  }
  throw new Error('the settings were accepted');
}
const problemsIn = (content: Record<string, unknown>) => refusal({ file: file(content) }).details.problems;

describe('a setting', () => {
  it('comes from flag, environment, file and default, in this order', () => {
    const { values, origins } = resolve({
      flags: { hivePort: 1111 },
      variables: { RBEE_HIVE_PORT: '2222', RBEE_SLOTS: '2' },
      file: file({ queen: { port: 3333 }, test: { slots: 3 }, paths: { models_dir: '/file' } }),
    });
    expect(values).toEqual({
      hivePort: 1111,
      slots: 2,
      queenPort: 3333,
      modelsDir: '/file',
      keepAlive: 0,
      verbose: false,
      apiTokenFile: undefined,
      token: undefined,
    });
    expect(origins).toMatchObject({
      hivePort: { origin: 'flag', source: '--hive-port' },
      slots: { origin: 'environment', source: 'RBEE_SLOTS' },
      queenPort: { origin: 'file', source: FILE },
      modelsDir: { origin: 'file', source: FILE },
      verbose: { origin: 'default' },
    });
  });

  it('comes from the first of its variables that is set; an empty one is not', () => {
    expect(resolve({ variables: { RBEE_HIVE_PORT: '', RBEE_POOL_PORT: '5555' } }).values.hivePort).toBe(5555);
    const { values, origins } = resolve({ variables: { RBEE_HIVE_PORT: '4444', RBEE_POOL_PORT: '5555' } });
    expect([values.hivePort, origins.hivePort.source]).toEqual([4444, 'RBEE_HIVE_PORT']);
  });

  it('is text in the environment and typed in the file', () => {
    expect(resolve({ variables: { RBEE_VERBOSE: 'true' } }).values.verbose).toBe(true);
    expect(resolve({ variables: { RBEE_VERBOSE: '0' } }).values.verbose).toBe(false);
    expect(resolve({ flags: { verbose: true } }).values.verbose).toBe(true);
    expect(resolve({ file: file({ queen: { keep_alive: '10m' } }) }).values.keepAlive).toBe(600_000);
    expect(resolve({ file: file({ queen: { keep_alive: 250 } }) }).values.keepAlive).toBe(250);
  });

  it('cannot be changed any more', () => {
    const { values } = resolve();
    expect(() => Object.assign(values, { slots: 9 })).toThrow(TypeError);
  });

  it('of the file that something wins over is named with both values, and a secret with none', () => {
    const { overridden } = resolve({
      flags: { queenPort: '7001' },
      variables: { RBEE_SLOTS: '2', TOKEN: 's3cret-1', RBEE_KEEP_ALIVE: '30s' },
      file: file({ queen: { port: 7000, keep_alive: '5m' }, test: { slots: 3, token: 's3cret-2' } }),
    });
    expect(overridden).toEqual([
      { key: 'queen.port', by: 'flag', source: '--queen-port', value: '7001', fileValue: '7000' },
      { key: 'queen.keep_alive', by: 'environment', source: 'RBEE_KEEP_ALIVE', value: '30 s', fileValue: '5 min' },
      { key: 'test.slots', by: 'environment', source: 'RBEE_SLOTS', value: '2', fileValue: '3' },
      { key: 'test.token', by: 'environment', source: 'TOKEN', value: '[REDACTED]', fileValue: '[REDACTED]' },
    ]);
  });
});

describe('a path', () => {
  const at = (path: string) => resolve({ file: file({ paths: { models_dir: path } }) }).values.modelsDir;

  it('of the file starts at the folder of the file, one of the environment at the current folder', () => {
    expect(at('models')).toBe('/etc/rbee/models');
    expect(at('../m/')).toBe('/etc/m');
    expect(resolve({ variables: { RBEE_MODELS_DIR: 'models' } }).values.modelsDir).toBe('/here/models');
    expect(resolve({ flags: { modelsDir: './models' } }).values.modelsDir).toBe('/here/models');
  });

  it('may begin in the home folder', () => {
    expect(at('~/models')).toBe('/home/me/models');
    expect(at('~')).toBe('/home/me');
    expect(at('~you/models')).toBe('/etc/rbee/~you/models');
    expect(resolve({ variables: { RBEE_MODELS_DIR: '~/models' } }).values.modelsDir).toBe('/home/me/models');
  });

  it('has a default below the home folder, or where XDG_DATA_HOME says', () => {
    expect(resolve().values.modelsDir).toBe('/home/me/.local/share/rbee/models');
    expect(resolve({ variables: { XDG_DATA_HOME: '/data' } }).values.modelsDir).toBe('/data/rbee/models');
    expect(resolve({ variables: { XDG_DATA_HOME: 'data' } }).values.modelsDir).toBe(
      '/home/me/.local/share/rbee/models',
    );
    const hub = resolveSettings(pick('hubHome'), surroundings).values;
    expect(hub.hubHome).toBe('/home/me/.cache/huggingface');
  });
});

describe('problems', () => {
  it('are reported all at once, each with its place and with what was expected', () => {
    const error = refusal({
      flags: { hivePort: 80 },
      variables: { RBEE_SLOTS: 'many', RBEE_VERBOSE: 'perhaps' },
      file: file({ queen: { keep_alive: 'soon' }, pool: { prot: 1 }, limits: { max_workers: 's3cret' } }),
    });
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: `the configuration is not valid (6 problems)
  ${FILE}: queen.keep_alive: expected a duration such as 500ms, 30s or 5m
  ${FILE}: pool.prot: unknown key
  ${FILE}: limits.max_workers: expected a whole number of at least 1
  command line: --hive-port: expected a port (1024 to 65535)
  environment: RBEE_SLOTS: expected a whole number from 1 to 9
  environment: RBEE_VERBOSE: expected true or false`,
    });
    expect(error.details).toMatchObject({
      file: FILE,
      problems: [
        { key: 'queen.keep_alive', origin: 'file', expected: 'a duration such as 500ms, 30s or 5m' },
        { key: 'pool.prot', origin: 'file', message: 'unknown key' },
        { key: 'limits.max_workers', origin: 'file' },
        { key: '--hive-port', origin: 'flag' },
        { key: 'RBEE_SLOTS', origin: 'environment' },
        { key: 'RBEE_VERBOSE', origin: 'environment' },
      ],
    });
    expect(JSON.stringify(error.details)).not.toContain('s3cret');
  });

  it('stand in one line when there is one', () =>
    expect(refusal({ variables: { RBEE_SLOTS: '0' } }).message).toBe(
      'the configuration is not valid: environment: RBEE_SLOTS: expected a whole number from 1 to 9',
    ));

  it.each([
    [{ queen: { port: '65536' } }],
    [{ queen: { port: true } }],
    [{ queen: { port: [8080] } }],
    [{ queen: { port: 8080.5 } }],
    [{ test: { slots: 0 } }],
    [{ test: { slots: 10 } }],
    [{ test: { slots: '' } }],
    [{ paths: { models_dir: 5 } }],
    [{ paths: { models_dir: '' } }],
    [{ queen: { keep_alive: -1 } }],
    [{ queen: { keep_alive: '-1s' } }],
    [{ queen: { keep_alive: Number.POSITIVE_INFINITY } }],
    [{ pool: { listen_addr: 'localhost' } }],
    [{ pool: { listen_addr: '127.0.0.1:80' } }],
    [{ hub: { endpoint: 'ftp://x' } }],
    [{ limits: { download_mb_per_s: 0 } }],
    [{ audit: { mode: 'loud' } }],
    [{ queen: 5 }],
    [{ queen: { port: { deep: 1 } } }],
  ])('are values of another kind, also of settings that the program does not read: %j', (content) => {
    expect(problemsIn(content)).toHaveLength(1);
  });

  it.each([
    ['queen', { queen: 5 }, 'expected a section, which begins with the line [queen]'],
    ['stray', { stray: 1 }, 'unknown key'],
    ['paths.model_dir', { paths: { model_dir: '/m' } }, 'unknown key; did you mean paths.models_dir?'],
    ['quen.port', { quen: { port: 8090 } }, 'unknown key; did you mean queen.port?'],
    ['models_dir', { models_dir: '/m' }, 'unknown key; did you mean paths.models_dir?'],
    ['model.catalog_db', { model: { catalog_db: '/m' } }, 'unknown key; did you mean paths.catalog_db?'],
    ['test.slot', { test: { slot: 1 } }, 'unknown key; did you mean test.slots?'],
    ['pool.port', { pool: { port: 9300 } }, 'unknown key'],
  ])('are keys that nobody knows: %s', (key, content, message) => {
    expect(problemsIn(content)).toEqual([expect.objectContaining({ key, origin: 'file', message })]);
  });

  it('are none of keys that other programs read, or that have no effect yet', () => {
    const content = { pool: { name: 'x' }, audit: { mode: 'local' }, metrics: { public: true }, timeouts: { call: 5 } };
    expect(() => resolve({ file: file(content) })).not.toThrow();
  });

  it('are no variables of others', () =>
    expect(() => resolve({ variables: { RBEE_UNKNOWN: 'x', RBEE_QUEUE_LENGTH: 'x', PATH: '/bin' } })).not.toThrow());

  it('of values that are wrong in a wider view stand in the same list', () => {
    const wider = {
      key: 'auth.api_token_file',
      origin: 'default' as const,
      message: 'is needed',
      suggestion: 'make one',
    };
    const check: SettingCheck<typeof table> = ({ values }) => (values.slots === 4 ? [wider] : []);
    expect(refusal({}, check)).toMatchObject({
      message: 'the configuration is not valid: auth.api_token_file: is needed',
      suggestion: 'make one',
      details: { problems: [{ key: 'auth.api_token_file' }] },
    });
    const both = refusal({ file: file({ queen: { port: 1 } }) }, check);
    expect(both.message).toContain(`${FILE}: auth.api_token_file: is needed`);
    expect(both.details.problems).toHaveLength(2);
    expect(both.suggestion).not.toBe('make one');
    expect(refusal({ file: file({ auth: { api_token_file: 5 } }) }, check).details.problems).toHaveLength(1);
    expect(resolve({ variables: { RBEE_SLOTS: '5' } }, check).values.slots).toBe(5);
  });
});

it.each<[string, { schema: { safeParse(value: unknown): { data?: unknown } } }, unknown, unknown]>([
  ['an address', listenAddress, '127.0.0.1:9300', { host: '127.0.0.1', port: 9300 }],
  ['a port alone', listenAddress, '9300', { host: undefined, port: 9300 }],
  ['an address of IPv6', listenAddress, '[::1]:9300', { host: '::1', port: 9300 }],
  ['a hub', httpAddress, 'https://hub.example/mirror//', 'https://hub.example/mirror'],
  ['a speed', positive, '1.5', 1.5],
  ['a time', duration, '1.5s', 1500],
  ['a port', port, ' 8080', undefined],
  ['a path', path, 'x', 'x'],
])('%s is read', (_what, { schema }, given, expected) => expect(schema.safeParse(given).data).toEqual(expected));

describe('a configuration file', () => {
  it('is TOML', () => {
    const content = parseConfigFile('config.toml', '# ports\n[queen]\nport = 9300\nkeep_alive = "10m"\n');
    expect(resolve({ file: file(content) }).values).toMatchObject({ queenPort: 9300, keepAlive: 600_000 });
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
    resolveSettings(timeoutSettings, { ...surroundings, variables, file: file(content) }).values;

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
