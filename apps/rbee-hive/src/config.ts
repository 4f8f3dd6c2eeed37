import { readFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import {
  type Environment,
  type LogLevel,
  parseConfigFile,
  readSecretFile,
  resolveSettings,
  Secret,
  setting,
  settingSchema,
  type Timeouts,
  timeoutSettings,
  userPaths,
} from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { isLoopback } from './loopback.js';

/** Everything that a hive can be told; nothing of it names the program that workers run. */
export interface HiveConfig {
  readonly host: string;
  readonly port: number;
  readonly apiKey: Secret | undefined;
  readonly bodyLimit: number;
  readonly modelsDir: string;
  /** Folders that `file:` references may point into, the models folder first. */
  readonly modelRoots: readonly string[];
  readonly catalogDb: string;
  readonly logDir: string;
  readonly runDir: string;
  readonly logLevel: LogLevel;
  /** Log to the file only, not to standard error. */
  readonly silent: boolean;
  /** Address that workers listen on. */
  readonly workerHost: string;
  readonly workerPortStart: number;
  readonly maxWorkers: number | undefined;
  readonly slotsPerWorker: number | undefined;
  /** Whether workers that crash or do not answer are started again. Pinned ones always are. */
  readonly restartWorkers: boolean;
  readonly probeFile: string | undefined;
  readonly hub: HubSettings;
  /** How many downloads run at the same time. */
  readonly maxDownloads: number;
  /** Limit for all downloads together in bytes per second. */
  readonly downloadBytesPerSecond: number | undefined;
  /** Ends the hive when its queen has been silent for `timeouts.owner_lost`. */
  readonly owned: boolean;
  readonly timeouts: Timeouts;
}

/** Where models come from. */
export interface HubSettings {
  /** Base address, without a slash at its end. */
  readonly endpoint: string;
  /** File with the token of a user of the hub; it may be missing. */
  readonly tokenFile: string;
  /** Token from the environment, which counts before the file. */
  readonly token: Secret | undefined;
}

export interface HiveFlags {
  readonly port?: string | undefined;
  readonly host?: string | undefined;
  readonly addr?: string | undefined;
  readonly config?: string | undefined;
  readonly owned?: boolean | undefined;
}

const { text, port } = settingSchema;
const atLeast = (least: number) => settingSchema.count.refine((value) => value >= least, `must be at least ${least}`);
const address = text.transform((value, context) => {
  const match = /^(?:(.+):)?(\d+)$/.exec(value);
  if (match !== null) return { host: match[1]?.replace(/^\[|\]$/g, ''), port: Number(match[2]) };
  context.addIssue({ code: 'custom', message: 'must be host:port or a port' });
  return { host: undefined, port: 0 };
});
const optionalText = text.optional();

/** The hive's settings, with their environment variables and keys of the configuration file. */
const SETTINGS = {
  ...timeoutSettings,
  port: setting<number>({ schema: port, default: 9200, env: ['RBEE_HIVE_PORT', 'RBEE_POOL_PORT'] }),
  host: setting<string>({ schema: text, default: '127.0.0.1' }),
  addr: setting<{ host: string | undefined; port: number } | undefined>({
    schema: address.optional(),
    default: undefined,
    file: 'pool.listen_addr',
  }),
  apiTokenFile: setting({ schema: optionalText, default: undefined, file: 'auth.api_token_file' }),
  /** The hive's own key, where it is another one than the queen's. */
  hiveTokenFile: setting({
    schema: optionalText,
    default: undefined,
    env: ['RBEE_HIVE_TOKEN_FILE'],
    file: 'auth.hive_token_file',
  }),
  bodyLimit: setting<number>({ schema: atLeast(1024), default: 1024 * 1024, file: 'limits.body_bytes' }),
  modelsDir: setting({
    schema: optionalText,
    default: undefined,
    env: ['RBEE_MODELS_DIR', 'RBEE_MODEL_BASE_DIR'],
    file: 'paths.models_dir',
  }),
  /** Further folders for `file:` references, separated like PATH. */
  modelRoots: setting({ schema: optionalText, default: undefined, env: ['RBEE_MODEL_ROOTS'] }),
  catalogDb: setting({ schema: optionalText, default: undefined, env: ['RBEE_CATALOG_DB'], file: 'paths.catalog_db' }),
  logDir: setting({ schema: optionalText, default: undefined, env: ['RBEE_LOG_DIR'], file: 'paths.log_dir' }),
  logLevel: setting<LogLevel>({ schema: settingSchema.logLevel, default: 'info', env: ['RBEE_LOG_LEVEL'] }),
  silent: setting<boolean>({ schema: settingSchema.flag, default: false, env: ['RBEE_SILENT'] }),
  workerHost: setting({ schema: optionalText, default: undefined, env: ['RBEE_WORKER_HOST'] }),
  workerPortStart: setting<number>({ schema: port, default: 8001, env: ['RBEE_WORKER_PORT_START'] }),
  maxWorkers: setting({ schema: atLeast(1).optional(), default: undefined, file: 'limits.max_workers' }),
  slotsPerWorker: setting({
    schema: atLeast(1)
      .refine((slots) => slots <= 256, 'must be at most 256')
      .optional(),
    default: undefined,
    file: 'limits.slots_per_worker',
  }),
  restartWorkers: setting<boolean>({
    schema: settingSchema.flag,
    default: false,
    env: ['RBEE_RESTART_WORKERS'],
    file: 'pool.restart_workers',
  }),
  hubEndpoint: setting<string>({
    schema: settingSchema.httpAddress,
    default: 'https://huggingface.co',
    env: ['HF_ENDPOINT'],
    file: 'hub.endpoint',
  }),
  hubTokenFile: setting({ schema: optionalText, default: undefined, env: ['HF_TOKEN_PATH'], file: 'hub.token_file' }),
  maxDownloads: setting<number>({ schema: atLeast(1), default: 2, file: 'limits.downloads' }),
  downloadMbPerS: setting<number | undefined>({
    schema: settingSchema.positive.optional(),
    default: undefined,
    env: ['RBEE_DOWNLOAD_MB_PER_S'],
    file: 'limits.download_mb_per_s',
  }),
  /** A JSON file with figures in place of what the machine has; for tests. */
  probeFile: setting({ schema: optionalText, default: undefined, env: ['RBEE_PROBE_FILE'] }),
};

/** Sections and keys of the shared file that other programs, or later parts of this one, read. */
const FOREIGN_KEYS = ['pool.name', 'paths.workers_db', 'remote.*', 'queen.*', 'auth.worker_token_file'].concat([
  'audit.*',
  'metrics.*',
]);

/** Merges defaults, configuration file, environment and flags. Throws CONFIG_INVALID with all problems at once. */
export function loadHiveConfig(environment: Environment, flags: HiveFlags): HiveConfig {
  const { variables, cwd, home } = environment;
  const paths = userPaths(environment);
  const { port: portFlag, host: hostFlag, addr } = flags;
  const file = readConfigFile(environment, flags.config);
  const given = Object.entries({ port: portFlag, host: hostFlag, addr }).filter(([, value]) => value !== undefined);
  const sources = { flags: Object.fromEntries(given), variables, ...(file && { file }) };
  const { values, origins } = resolveSettings(SETTINGS, sources, FOREIGN_KEYS);
  const at = (path: string | undefined, fallback: string) => (path === undefined ? fallback : resolve(cwd, path));
  const modelsDir = at(values.modelsDir, paths.models);
  const furtherRoots = values.modelRoots?.split(delimiter).filter((root) => root !== '') ?? [];
  const keyFile = values.hiveTokenFile ?? values.apiTokenFile;
  // An address is less specific than a host or port that was given by itself.
  const host = (origins.host === 'default' && values.addr?.host) || values.host;
  const config: HiveConfig = {
    host,
    port: (origins.port === 'default' && values.addr?.port) || values.port,
    apiKey: keyFile === undefined ? undefined : readSecretFile(resolve(cwd, keyFile)),
    bodyLimit: values.bodyLimit,
    modelsDir,
    modelRoots: [modelsDir, ...furtherRoots.map((root) => resolve(cwd, root))],
    catalogDb: at(values.catalogDb, paths.catalog),
    logDir: at(values.logDir, paths.logs),
    runDir: paths.run,
    logLevel: values.logLevel,
    silent: values.silent,
    // Whoever may use a hive from another machine reaches its workers there as well; they have keys of their own.
    workerHost: values.workerHost ?? (isLoopback(host) ? '127.0.0.1' : host),
    workerPortStart: values.workerPortStart,
    maxWorkers: values.maxWorkers,
    slotsPerWorker: values.slotsPerWorker,
    restartWorkers: values.restartWorkers,
    probeFile: values.probeFile === undefined ? undefined : resolve(cwd, values.probeFile),
    hub: {
      endpoint: values.hubEndpoint,
      // Where the hub's own tools put it.
      tokenFile: at(values.hubTokenFile, join(at(variables.HF_HOME, join(home, '.cache', 'huggingface')), 'token')),
      token: variables.HF_TOKEN ? new Secret(variables.HF_TOKEN) : undefined,
    },
    maxDownloads: values.maxDownloads,
    downloadBytesPerSecond: values.downloadMbPerS && Math.round(values.downloadMbPerS * 2 ** 20),
    owned: flags.owned ?? false,
    timeouts: values,
  };
  requireKeyForPublicBind(config);
  return config;
}

function readConfigFile({ variables, cwd, home }: Environment, flag: string | undefined) {
  const named = flag ?? variables.RBEE_CONFIG;
  const candidates = named ? [resolve(cwd, named)] : [userPaths({ home }).config, join('/etc', 'rbee', 'config.toml')];
  for (const name of candidates) {
    try {
      return { name, content: parseConfigFile(name, readFileSync(name, 'utf8')) };
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      const skipped = !named && (code === 'ENOENT' || code === 'EACCES');
      if (!skipped) throw code === 'CONFIG_INVALID' ? cause : unreadable(name, cause as NodeJS.ErrnoException);
    }
  }
  return undefined;
}

function unreadable(file: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('CONFIG_INVALID', `the configuration file ${file} cannot be read (${cause.code})`, {
    details: { file },
    suggestion: 'correct --config or RBEE_CONFIG',
    cause,
  });
}

function requireKeyForPublicBind({ host, apiKey }: HiveConfig): void {
  if (isLoopback(host) || apiKey !== undefined) return;
  throw new RbeeError(
    'CONFIG_INVALID',
    `listening on ${host} needs a key: everybody on the network could use this hive`,
    {
      details: { host },
      suggestion: 'set auth.hive_token_file in the configuration or RBEE_HIVE_TOKEN_FILE, or listen on 127.0.0.1',
    },
  );
}
