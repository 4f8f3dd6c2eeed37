import {
  type Environment,
  findConfigFile,
  findKeySource,
  isLoopback,
  type KeySource,
  LiveSettings,
  type LoadedSettings,
  pick,
  problemsOfKey,
  problemsOfOpenAddress,
  resolveSettings,
  ServiceKey,
  setting,
  settingCatalogue,
  settingType,
  type Timeouts,
  timeoutSettings,
  type ValuesOf,
} from '@rbee/daemon-kit';

/** Every setting of the queen. Durations are milliseconds. */
const queenTable = {
  host: settingCatalogue.queenHost,
  port: settingCatalogue.queenPort,
  database: settingCatalogue.queenDatabase,
  /** End with the last client and task, as a queen does that a keeper started. */
  ephemeral: setting<boolean>({ ...settingType.flag, default: false }),
  ...pick('keepAlive', 'startGrace', 'queueLength', 'bodyBytes', 'hivePort', 'listenAddr'),
  ...pick('remoteBinaryPath', 'remoteGitRepoDir', 'mockSsh', 'mockHiveUrl'),
  ...pick('logDir', 'logLevel', 'silent', 'apiTokenFile', 'hiveTokenFile'),
  ...timeoutSettings,
};

type NotForParts = 'listenAddr' | 'mockSsh' | 'apiTokenFile';

/** A field is to be read when it is needed, and not copied: `keepAlive`, `queueLength`, `logLevel` and the time limits may change. */
export interface QueenSettings
  extends Omit<ValuesOf<typeof queenTable>, keyof typeof timeoutSettings | NotForParts | 'mockHiveUrl'> {
  /** Address of the hive that stands for every node's while SSH is simulated; `undefined`: SSH is real. */
  readonly mockHiveUrl: string | undefined;
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

/** What one reading gave, and where the key is that callers of the queen need. */
interface LoadedQueenSettings extends LoadedSettings<typeof queenTable> {
  readonly keySource: KeySource | undefined;
}

/** Reads defaults, file, environment and flags, and tries the keys. Throws CONFIG_INVALID, with every problem at once. */
function loadSettings(environment: Environment, { config, ...flags }: SettingFlags): LoadedQueenSettings {
  const { file } = findConfigFile(environment, config);
  const { variables, home, cwd } = environment;
  let keySource: KeySource | undefined;
  const resolved = resolveSettings(queenTable, { flags, variables, home, cwd, file }, ({ values, origins }) => {
    const { host, apiTokenFile, hiveTokenFile } = values;
    const { origin, source = 'auth.hive_token_file' } = origins.hiveTokenFile;
    const hiveKey = { key: origin === 'environment' ? source : 'auth.hive_token_file', origin };
    keySource = findKeySource({ file: apiTokenFile, variables, service: 'queen-rbee' });
    return [
      ...problemsOfKey(keySource, { key: 'auth.api_token_file', origin: origins.apiTokenFile.origin }),
      ...problemsOfKey(hiveTokenFile === undefined ? undefined : { kind: 'file', path: hiveTokenFile }, hiveKey),
      ...problemsOfOpenAddress(host, keySource !== undefined, 'auth.api_token_file'),
    ];
  });
  return { resolved, keySource, file: file?.name };
}

/** What a queen that runs goes by, and what reads it again. */
export interface QueenConfiguration {
  readonly settings: QueenSettings;
  readonly live: LiveSettings<typeof queenTable>;
  /** What callers have to show; `undefined`: nothing. */
  readonly key: ServiceKey | undefined;
}

/** Reads the configuration and the key for the first time. Throws CONFIG_INVALID, with every problem at once. */
export function openConfiguration(environment: Environment, flags: SettingFlags): QueenConfiguration {
  const reads: LoadedQueenSettings[] = [];
  const read = () => {
    const loaded = loadSettings(environment, flags);
    if (reads.length === 0) reads.push(loaded);
    return loaded;
  };
  const live = new LiveSettings(queenTable, read, environment.clock);
  const [first] = reads as [LoadedQueenSettings];
  const key = first.keySource && ServiceKey.load(first.keySource);
  return { settings: toSettings(live.values, first), live, key };
}

/** The settings as the parts of the queen use them; what is live among them changes here. */
function toSettings(values: ValuesOf<typeof queenTable>, { resolved, file }: LoadedQueenSettings): QueenSettings {
  const { host, port, database, ephemeral, startGrace, bodyBytes, listenAddr } = values;
  const { remoteBinaryPath, remoteGitRepoDir, logDir, silent, hiveTokenFile } = values;
  // An address is less specific than a port that was given by itself.
  const hivePort = (resolved.origins.hivePort.origin === 'default' && listenAddr?.port) || values.hivePort;
  const mocked = values.mockSsh && isLoopback(host);
  return {
    ...{ host, port, database, ephemeral, startGrace, bodyBytes, hivePort },
    ...{ remoteBinaryPath, remoteGitRepoDir, logDir, silent, hiveTokenFile },
    // Only this machine can reach such a queen: nobody else's nodes are simulated by mistake.
    mockHiveUrl: mocked ? (values.mockHiveUrl ?? `http://127.0.0.1:${hivePort}`) : undefined,
    timeouts: toTimeouts(values),
    configFile: file,
    get keepAlive() {
      return values.keepAlive;
    },
    get queueLength() {
      return values.queueLength;
    },
    get logLevel() {
      return values.logLevel;
    },
  };
}

/** The time limits alone, because they are also handed to another process. */
function toTimeouts(values: Timeouts): Timeouts {
  const limits = {};
  for (const name of Object.keys(timeoutSettings) as (keyof Timeouts)[]) {
    Object.defineProperty(limits, name, { get: () => values[name], enumerable: true });
  }
  return Object.freeze(limits) as Timeouts;
}
