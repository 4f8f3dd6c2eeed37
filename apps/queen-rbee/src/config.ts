import { existsSync, readFileSync } from 'node:fs';
import {
  type Environment,
  type LogLevel,
  parseConfigFile,
  resolveSettings,
  setting,
  settingSchema,
  type Timeouts,
  timeoutSettings,
  userPaths,
  type ValuesOf,
} from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';

/** Read where the user has no configuration file. */
const SYSTEM_CONFIG = '/etc/rbee/config.toml';

/** Every setting of the queen: where it may come from, and its default. Durations are milliseconds. */
const settingTable = {
  /** Address that the queen listens on. */
  host: setting<string>({
    schema: settingSchema.text,
    default: '127.0.0.1',
    env: ['RBEE_QUEEN_HOST'],
    file: 'queen.host',
  }),
  port: setting<number>({ schema: settingSchema.port, default: 8080, env: ['RBEE_QUEEN_PORT'], file: 'queen.port' }),
  /** End with the last client and task, as a queen does that a keeper started. */
  ephemeral: setting<boolean>({ schema: settingSchema.flag, default: false }),
  /** How long an ephemeral queen stays after its last client and task. */
  keepAlive: setting<number>({
    schema: settingSchema.duration,
    default: 0,
    env: ['RBEE_KEEP_ALIVE'],
    file: 'queen.keep_alive',
  }),
  /** How long an ephemeral queen waits for its first client. */
  startGrace: setting<number>({
    schema: settingSchema.duration,
    default: 10_000,
    env: ['RBEE_T_START_GRACE'],
    file: 'timeouts.start_grace',
  }),
  /** Port of the hive of this machine. */
  hivePort: setting<number>({ schema: settingSchema.port, default: 9200, env: ['RBEE_HIVE_PORT', 'RBEE_POOL_PORT'] }),
  /** Node registry; empty: `~/.rbee/beehives.db`. */
  database: setting<string>({
    schema: settingSchema.text,
    default: '',
    env: ['RBEE_QUEEN_DATABASE'],
    file: 'queen.database',
  }),
  /** Program that is run on nodes in place of the hive's own launcher. */
  remoteBinaryPath: setting<string>({ schema: settingSchema.text, default: '', file: 'remote.binary_path' }),
  /** Checkout on nodes that `setup install` uses in place of the one in the install path. */
  remoteGitRepoDir: setting<string>({ schema: settingSchema.text, default: '', file: 'remote.git_repo_dir' }),
  /** Simulate SSH, for tests: a host whose name contains "unreachable" fails, every other one is this machine. */
  mockSsh: setting<boolean>({ schema: settingSchema.flag, default: false, env: ['MOCK_SSH'] }),
  /** Hive of every node while SSH is simulated; empty: the hive port of this machine. */
  mockHiveUrl: setting<string>({ schema: settingSchema.text, default: '', env: ['MOCK_HIVE_URL'] }),
  /** Folder of the log files; empty: `~/.rbee/logs`. */
  logDir: setting<string>({ schema: settingSchema.text, default: '', env: ['RBEE_LOG_DIR'], file: 'paths.log_dir' }),
  logLevel: setting<LogLevel>({ schema: settingSchema.logLevel, default: 'info', env: ['RBEE_LOG_LEVEL'] }),
  /** Write no log lines to standard error; the log file gets them all the same. */
  silent: setting<boolean>({ schema: settingSchema.flag, default: false, env: ['RBEE_SILENT'] }),
  /** File with the key that callers need; empty: none is needed, which only a loopback address allows. */
  apiTokenFile: setting<string>({ schema: settingSchema.text, default: '', file: 'auth.api_token_file' }),
  /** File with the key of this machine's hive; empty: the same as the queen's, if that has one. */
  hiveTokenFile: setting<string>({ schema: settingSchema.text, default: '', file: 'auth.hive_token_file' }),
  /** Largest accepted request body in bytes. */
  bodyBytes: setting<number>({ schema: settingSchema.count, default: 1024 * 1024, file: 'limits.body_bytes' }),
  /** How many tasks may wait in all; one client may have half of them. */
  queueLength: setting<number>({
    schema: settingSchema.count,
    default: 256,
    env: ['RBEE_QUEUE_LENGTH'],
    file: 'limits.queue_length',
  }),
  ...timeoutSettings,
};

/** Sections of the common configuration file that other rbee processes read, and keys of the queen's that only clients read. */
const FOREIGN_KEYS = ['pool.*', 'paths.*', 'auth.*', 'audit.*', 'hub.*', 'limits.*', 'metrics.*', 'queen.url'];

export interface QueenSettings
  extends Omit<
    ValuesOf<typeof settingTable>,
    | keyof typeof timeoutSettings
    | 'logDir'
    | 'database'
    | 'apiTokenFile'
    | 'hiveTokenFile'
    | 'remoteBinaryPath'
    | 'remoteGitRepoDir'
    | 'mockSsh'
    | 'mockHiveUrl'
  > {
  readonly logDir: string;
  readonly database: string;
  readonly remoteBinaryPath: string | undefined;
  readonly remoteGitRepoDir: string | undefined;
  /** Address of the hive that stands for every node's while SSH is simulated; `undefined`: SSH is real. */
  readonly mockHiveUrl: string | undefined;
  readonly apiTokenFile: string | undefined;
  readonly hiveTokenFile: string | undefined;
  readonly timeouts: Timeouts;
  /** The configuration file that was read, so that a hive can be started with the same one. */
  readonly configFile: string | undefined;
}

/** Flags of the command line that set something; `undefined` where a flag was not given. */
export interface SettingFlags {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly config?: string | undefined;
  readonly database?: string | undefined;
  readonly ephemeral?: boolean | undefined;
  readonly keepAlive?: string | undefined;
}

/** Merges defaults, file, environment and flags. Throws CONFIG_INVALID, with every problem at once. */
export function readSettings(environment: Environment, { config, ...flags }: SettingFlags): QueenSettings {
  const { variables } = environment;
  const file = readConfig(environment, config ?? (variables.RBEE_CONFIG || undefined));
  const { values } = resolveSettings(settingTable, { flags, variables, ...(file ? { file } : {}) }, FOREIGN_KEYS);
  const { logDir, database, apiTokenFile, hiveTokenFile, remoteBinaryPath, remoteGitRepoDir, mockSsh, ...others } =
    values;
  const { mockHiveUrl, ...rest } = others;
  const paths = userPaths(environment);
  const timeouts = Object.fromEntries(Object.keys(timeoutSettings).map((name) => [name, rest[name as keyof Timeouts]]));
  const settings: QueenSettings = {
    ...rest,
    logDir: logDir || paths.logs,
    database: database || paths.registry,
    remoteBinaryPath: remoteBinaryPath || undefined,
    remoteGitRepoDir: remoteGitRepoDir || undefined,
    // Only this machine can reach such a queen: nobody else's nodes are simulated by mistake.
    mockHiveUrl: mockSsh && isLoopback(values.host) ? mockHiveUrl || `http://127.0.0.1:${values.hivePort}` : undefined,
    apiTokenFile: apiTokenFile || undefined,
    hiveTokenFile: hiveTokenFile || apiTokenFile || undefined,
    timeouts: Object.freeze(timeouts) as Timeouts,
    configFile: file?.name,
  };
  refuseOpenAddress(settings);
  return Object.freeze(settings);
}

function readConfig(
  environment: Environment,
  asked: string | undefined,
): Parameters<typeof resolveSettings>[1]['file'] {
  const name = asked ?? [userPaths(environment).config, SYSTEM_CONFIG].find((path) => existsSync(path));
  if (name === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(name, 'utf8');
  } catch (cause) {
    throw toConfigFileError(name, cause);
  }
  return { name, content: parseConfigFile(name, text) };
}

function toConfigFileError(name: string, cause: unknown): RbeeError {
  return new RbeeError('CONFIG_INVALID', `${name} cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
    details: { file: name },
    suggestion: 'give the path of a readable file with --config, or leave it out',
    cause,
  });
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|::1)$/.test(host);
}

function refuseOpenAddress({ host, apiTokenFile }: QueenSettings): void {
  if (apiTokenFile !== undefined || isLoopback(host)) return;
  throw new RbeeError('CONFIG_INVALID', `${host} can be reached from other machines, and no key is configured`, {
    details: { host },
    suggestion: 'set auth.api_token_file to a file with a key (chmod 600), or listen on 127.0.0.1',
  });
}
