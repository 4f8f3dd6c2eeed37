import { delimiter, join, resolve } from 'node:path';
import {
  type Environment,
  findConfigFile,
  findKeySource,
  isLoopback,
  type KeySource,
  LiveSettings,
  type LoadedSettings,
  type LogLevel,
  pick,
  problemsOfKey,
  problemsOfOpenAddress,
  resolveSettings,
  Secret,
  ServiceKey,
  setting,
  settingCatalogue,
  settingType,
  type Timeouts,
  timeoutSettings,
  userPaths,
  type ValueOrigin,
  type ValuesOf,
} from '@rbee/daemon-kit';

/**
 * Everything that a hive can be told; nothing of it names the program that workers run. What `live` reads again changes
 * here: a field is to be read when it is needed, and not copied.
 */
export interface HiveConfig {
  readonly host: string;
  readonly port: number;
  /** Key that callers need. */
  readonly key: ServiceKey | undefined;
  /** Owner of all this: reads it again. */
  readonly live: LiveHiveSettings;
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

/** Every setting of a hive. Durations are milliseconds. */
const hiveTable = {
  host: setting<string>({ ...settingType.text, default: '127.0.0.1' }),
  port: settingCatalogue.hivePort,
  addr: settingCatalogue.listenAddr,
  ...pick('apiTokenFile', 'hiveTokenFile', 'bodyBytes', 'modelsDir', 'modelRoots', 'catalogDb', 'logDir', 'logLevel'),
  ...pick('silent', 'workerHost', 'workerPortStart', 'maxWorkers', 'slotsPerWorker', 'restartWorkers', 'probeFile'),
  ...pick('hubEndpoint', 'hubTokenFile', 'hubToken', 'hubHome', 'maxDownloads', 'downloadMbPerS'),
  ...timeoutSettings,
};

/** The settings of a hive, as they are read again. */
type LiveHiveSettings = LiveSettings<typeof hiveTable>;

/** What one reading gave, and where the key is that callers of the hive need. */
interface LoadedHiveSettings extends LoadedSettings<typeof hiveTable> {
  readonly keySource: KeySource | undefined;
}

/** Reads defaults, file, environment and flags, and tries the key. Throws CONFIG_INVALID, with every problem at once. */
function loadSettings(environment: Environment, { host, port, addr, config }: HiveFlags): LoadedHiveSettings {
  const { variables, home, cwd } = environment;
  const { file } = findConfigFile(environment, config);
  const sources = { flags: { host, port, addr }, variables, home, cwd, file };
  let keySource: KeySource | undefined;
  const resolved = resolveSettings(hiveTable, sources, ({ values, origins }) => {
    // The hive's own key, where it is another one than the queen's.
    const own = values.hiveTokenFile !== undefined;
    const { origin, source } = own ? origins.hiveTokenFile : origins.apiTokenFile;
    const setting = own ? 'auth.hive_token_file' : 'auth.api_token_file';
    const key = (origin === 'environment' && source) || setting;
    keySource = findKeySource({ file: values.hiveTokenFile ?? values.apiTokenFile, variables, service: 'rbee-hive' });
    return [
      ...problemsOfKey(keySource, { key, origin }),
      ...problemsOfOpenAddress(toAddress(values, origins).host, keySource !== undefined, 'auth.hive_token_file'),
    ];
  });
  return { resolved, keySource, file: file?.name };
}

/** An address is less specific than a host or port that was given by itself. */
function toAddress(
  { host, port, addr }: ValuesOf<typeof hiveTable>,
  origins: Readonly<Record<'host' | 'port', ValueOrigin>>,
): { host: string; port: number } {
  return {
    host: (origins.host.origin === 'default' && addr?.host) || host,
    port: (origins.port.origin === 'default' && addr?.port) || port,
  };
}

/** Merges defaults, configuration file, environment and flags. Throws CONFIG_INVALID with all problems at once. */
export function loadHiveConfig(environment: Environment, flags: HiveFlags): HiveConfig {
  const reads: LoadedHiveSettings[] = [];
  const read = () => {
    const loaded = loadSettings(environment, flags);
    if (reads.length === 0) reads.push(loaded);
    return loaded;
  };
  const live = new LiveSettings(hiveTable, read, environment.clock);
  const [first] = reads as [LoadedHiveSettings];
  const { values } = live;
  const key = first.keySource && ServiceKey.load(first.keySource);
  const { host, port } = toAddress(values, first.resolved.origins);
  const furtherRoots = values.modelRoots?.split(delimiter).filter((root) => root !== '') ?? [];
  return {
    host,
    port,
    key,
    live,
    bodyLimit: values.bodyBytes,
    modelsDir: values.modelsDir,
    modelRoots: [values.modelsDir, ...furtherRoots.map((root) => resolve(environment.cwd, root))],
    catalogDb: values.catalogDb,
    logDir: values.logDir,
    runDir: userPaths(environment).run,
    get logLevel() {
      return values.logLevel;
    },
    silent: values.silent,
    // Whoever may use a hive from another machine reaches its workers there as well; they have keys of their own.
    workerHost: values.workerHost ?? (isLoopback(host) ? '127.0.0.1' : host),
    workerPortStart: values.workerPortStart,
    get maxWorkers() {
      return values.maxWorkers;
    },
    get slotsPerWorker() {
      return values.slotsPerWorker;
    },
    get restartWorkers() {
      return values.restartWorkers;
    },
    probeFile: values.probeFile,
    hub: {
      endpoint: values.hubEndpoint,
      // Where the hub's own tools put it.
      tokenFile: values.hubTokenFile ?? join(values.hubHome, 'token'),
      token: values.hubToken === undefined ? undefined : new Secret(values.hubToken).remember(),
    },
    get maxDownloads() {
      return values.maxDownloads;
    },
    get downloadBytesPerSecond() {
      return values.downloadMbPerS && Math.round(values.downloadMbPerS * 2 ** 20);
    },
    owned: flags.owned ?? false,
    timeouts: values,
  };
}
