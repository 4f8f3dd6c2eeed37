import type { LogLevel } from './log-level.js';
import { userPaths } from './paths.js';
import { type ListenAddress, type Setting, setting, settingType } from './setting.js';
import { timeoutSettings } from './timeouts.js';

const { text, path, port, count, flag, duration, positive, listenAddress, httpAddress, logLevel } = settingType;

const HOME = userPaths({ home: '~' });

/** A path with a default among the common places. */
function placed(place: keyof typeof HOME) {
  return { ...path, place, default: HOME[place] };
}

/**
 * Every setting that a variable or a key of the file sets, whichever program reads it. What only a flag sets is declared
 * by the program that has the flag. Durations are milliseconds.
 */
export const settingCatalogue = {
  queenUrl: setting<string | undefined>({
    ...text,
    schema: text.schema.refine((value) => /^http:\/\/[^/?#@]+\/?$/.test(value) && URL.canParse(value)),
    expected: 'an address such as http://127.0.0.1:8080',
    default: undefined,
    shownDefault: 'from queen.port',
    env: ['RBEE_QUEEN_URL'],
    file: 'queen.url',
    describe: 'queen that rbee-keeper uses',
    readBy: ['rbee-keeper'],
  }),
  queenHost: setting<string>({
    ...text,
    default: '127.0.0.1',
    env: ['RBEE_QUEEN_HOST'],
    file: 'queen.host',
    describe: 'address that the queen listens on; another than loopback needs a key',
    readBy: ['queen-rbee'],
  }),
  queenPort: setting<number>({
    ...port,
    default: 8080,
    env: ['RBEE_QUEEN_PORT'],
    file: 'queen.port',
    describe: 'port of the queen',
    readBy: ['rbee-keeper', 'queen-rbee'],
  }),
  keepAlive: setting<number>({
    ...duration,
    default: 0,
    env: ['RBEE_KEEP_ALIVE'],
    file: 'queen.keep_alive',
    describe: 'how long a queen that a command started stays after it',
    readBy: ['rbee-keeper', 'queen-rbee'],
    reload: 'live',
  }),
  queenDatabase: setting<string>({
    ...placed('registry'),
    env: ['RBEE_QUEEN_DATABASE'],
    file: 'queen.database',
    describe: 'registry of the nodes',
    readBy: ['queen-rbee'],
  }),
  /** Both of `remote` are paths of nodes: nothing of this machine is put before them. */
  remoteBinaryPath: setting<string | undefined>({
    ...text,
    default: undefined,
    file: 'remote.binary_path',
    describe: 'program that is run on nodes in place of the hive that setup install put there',
    readBy: ['queen-rbee'],
  }),
  remoteGitRepoDir: setting<string | undefined>({
    ...text,
    default: undefined,
    shownDefault: 'source in the install path',
    file: 'remote.git_repo_dir',
    describe: 'checkout on nodes that setup install uses with --git-repo',
    readBy: ['queen-rbee'],
  }),
  mockSsh: setting<boolean>({
    ...flag,
    default: false,
    env: ['MOCK_SSH'],
    describe: 'SSH is simulated, for tests: every node is this machine; only for a queen on a loopback address',
    readBy: ['queen-rbee'],
  }),
  mockHiveUrl: setting<string | undefined>({
    ...text,
    default: undefined,
    shownDefault: 'the hive of this machine',
    env: ['MOCK_HIVE_URL'],
    describe: "hive that stands for every node's while SSH is simulated",
    readBy: ['queen-rbee'],
  }),
  poolName: setting<string | undefined>({
    ...text,
    default: undefined,
    file: 'pool.name',
    describe: 'name of the pool',
    readBy: [],
  }),
  listenAddr: setting<ListenAddress | undefined>({
    ...listenAddress,
    default: undefined,
    file: 'pool.listen_addr',
    describe: 'host:port of the hive, in one; flags and RBEE_HIVE_PORT win over it; the queen reads the port',
    readBy: ['queen-rbee', 'rbee-hive'],
  }),
  restartWorkers: setting<boolean>({
    ...flag,
    default: false,
    env: ['RBEE_RESTART_WORKERS'],
    file: 'pool.restart_workers',
    describe: 'a hive starts workers again that crashed or do not answer; pinned ones it always does',
    readBy: ['rbee-hive'],
    reload: 'live',
  }),
  hivePort: setting<number>({
    ...port,
    default: 9200,
    env: ['RBEE_HIVE_PORT', 'RBEE_POOL_PORT'],
    describe: 'port of the hive, for the hive itself and for the queen',
    readBy: ['queen-rbee', 'rbee-hive'],
  }),
  workerPortStart: setting<number>({
    ...port,
    default: 8001,
    env: ['RBEE_WORKER_PORT_START'],
    describe: 'first port that is tried for a worker',
    readBy: ['rbee-hive'],
  }),
  workerHost: setting<string | undefined>({
    ...text,
    default: undefined,
    shownDefault: '127.0.0.1, or the address of a hive on the network',
    env: ['RBEE_WORKER_HOST'],
    describe: 'address that workers listen on',
    readBy: ['rbee-hive'],
  }),
  modelsDir: setting<string>({
    ...placed('models'),
    env: ['RBEE_MODELS_DIR', 'RBEE_MODEL_BASE_DIR'],
    file: 'paths.models_dir',
    describe: 'folder of the models',
    readBy: ['rbee-hive'],
  }),
  modelRoots: setting<string | undefined>({
    ...text,
    default: undefined,
    env: ['RBEE_MODEL_ROOTS'],
    describe: 'further folders that models may come from, separated like PATH',
    readBy: ['rbee-hive'],
  }),
  catalogDb: setting<string>({
    ...placed('catalog'),
    env: ['RBEE_CATALOG_DB'],
    file: 'paths.catalog_db',
    describe: 'catalog of the models',
    readBy: ['rbee-hive'],
  }),
  workersDb: setting<string | undefined>({
    ...path,
    default: undefined,
    file: 'paths.workers_db',
    describe: 'catalog of worker programs',
    readBy: [],
  }),
  logDir: setting<string>({
    ...placed('logs'),
    env: ['RBEE_LOG_DIR'],
    file: 'paths.log_dir',
    describe: 'folder of the log files',
    readBy: ['rbee-keeper', 'queen-rbee', 'rbee-hive'],
  }),
  logLevel: setting<LogLevel>({
    ...logLevel,
    default: 'info',
    env: ['RBEE_LOG_LEVEL'],
    file: 'log.level',
    describe: 'how much is logged',
    readBy: ['queen-rbee', 'rbee-hive', 'llm-worker-rbee'],
    reload: 'live',
  }),
  silent: setting<boolean>({
    ...flag,
    default: false,
    env: ['RBEE_SILENT'],
    describe: 'queen and hive write log lines to their files only, not to standard error',
    readBy: ['queen-rbee', 'rbee-hive'],
  }),
  apiTokenFile: setting<string | undefined>({
    ...path,
    expected: 'the path of a file with a key (mode 0600)',
    default: undefined,
    file: 'auth.api_token_file',
    describe: 'file with the key that queen and hive demand; rbee-keeper and the queen send it',
    readBy: ['rbee-keeper', 'queen-rbee', 'rbee-hive'],
  }),
  hiveTokenFile: setting<string | undefined>({
    ...path,
    expected: 'the path of a file with a key (mode 0600)',
    default: undefined,
    shownDefault: '~/.rbee/secrets/hive.token for a hive that a queen starts, otherwise as auth.api_token_file',
    env: ['RBEE_HIVE_TOKEN_FILE'],
    file: 'auth.hive_token_file',
    describe: 'file with the key of the hive, where it is another one; the queen reads it too',
    readBy: ['queen-rbee', 'rbee-hive'],
  }),
  workerTokenFile: setting<string | undefined>({
    ...path,
    expected: 'the path of a file with a key (mode 0600)',
    default: undefined,
    file: 'auth.worker_token_file',
    describe: 'file with the key of workers',
    readBy: [],
  }),
  auditMode: setting<'disabled' | 'local'>({
    ...settingType.choice(['disabled', 'local']),
    default: 'disabled',
    file: 'audit.mode',
    describe: 'whether an audit log is written',
    readBy: [],
  }),
  auditPath: setting<string | undefined>({
    ...path,
    default: undefined,
    file: 'audit.path',
    describe: 'file of the audit log',
    readBy: [],
  }),
  auditRotateMb: setting<number>({
    ...positive,
    default: 100,
    file: 'audit.rotate_mb',
    describe: 'size of the audit log, in MB, at which a new one is begun',
    readBy: [],
  }),
  hubEndpoint: setting<string>({
    ...httpAddress,
    default: 'https://huggingface.co',
    env: ['HF_ENDPOINT'],
    file: 'hub.endpoint',
    describe: 'hub that models come from, or a mirror of it',
    readBy: ['rbee-hive'],
  }),
  hubTokenFile: setting<string | undefined>({
    ...path,
    default: undefined,
    shownDefault: 'token in HF_HOME',
    env: ['HF_TOKEN_PATH'],
    file: 'hub.token_file',
    describe: 'file with a token of the hub, for models that need one; it may be missing',
    readBy: ['rbee-hive'],
  }),
  hubToken: setting<string | undefined>({
    ...text,
    default: undefined,
    env: ['HF_TOKEN'],
    describe: 'the token itself; counts before the file',
    readBy: ['rbee-hive'],
    secret: true,
  }),
  hubHome: setting<string>({
    ...path,
    default: '~/.cache/huggingface',
    env: ['HF_HOME'],
    describe: "folder of the hub's own tools, where they keep the token",
    readBy: ['rbee-hive'],
  }),
  maxDownloads: setting<number>({
    ...count(1),
    default: 2,
    file: 'limits.downloads',
    describe: 'downloads of one hive at a time',
    readBy: ['rbee-hive'],
    reload: 'live',
  }),
  downloadMbPerS: setting<number | undefined>({
    ...positive,
    default: undefined,
    shownDefault: 'no limit',
    env: ['RBEE_DOWNLOAD_MB_PER_S'],
    file: 'limits.download_mb_per_s',
    describe: 'limit for all downloads of one hive together, in MB (2^20 bytes) per second',
    readBy: ['rbee-hive'],
    reload: 'live',
  }),
  bodyBytes: setting<number>({
    ...count(1024),
    default: 1024 * 1024,
    file: 'limits.body_bytes',
    describe: 'largest request that queen and hive accept, in bytes',
    readBy: ['queen-rbee', 'rbee-hive'],
  }),
  queueLength: setting<number>({
    ...count(0),
    default: 256,
    env: ['RBEE_QUEUE_LENGTH'],
    file: 'limits.queue_length',
    describe: "tasks that may wait in the queen's queue in all; one client may have half of them",
    readBy: ['queen-rbee'],
    reload: 'live',
  }),
  maxWorkers: setting<number | undefined>({
    ...count(1),
    default: undefined,
    shownDefault: 'no limit',
    file: 'limits.max_workers',
    describe: 'workers of one hive at a time; idle ones make room for others',
    readBy: ['rbee-hive'],
    reload: 'live',
  }),
  slotsPerWorker: setting<number | undefined>({
    ...count(1, 256),
    default: undefined,
    shownDefault: '4',
    file: 'limits.slots_per_worker',
    describe: 'generations of one worker at a time',
    readBy: ['rbee-hive'],
    reload: 'live',
  }),
  metricsPublic: setting<boolean>({
    ...flag,
    default: false,
    file: 'metrics.public',
    describe: 'figures can be read without a key',
    readBy: [],
  }),
  metricsLegacyNames: setting<boolean>({
    ...flag,
    default: false,
    file: 'metrics.legacy_names',
    describe: 'figures have their older names as well',
    readBy: [],
  }),
  startGrace: setting<number>({
    ...duration,
    default: 10_000,
    env: ['RBEE_T_START_GRACE'],
    file: 'timeouts.start_grace',
    describe: 'how long a queen that a command started waits for its first client',
    readBy: ['queen-rbee'],
  }),
  probeFile: setting<string | undefined>({
    ...path,
    default: undefined,
    env: ['RBEE_PROBE_FILE'],
    describe: 'JSON file with figures in place of what the machine has; for tests',
    readBy: ['rbee-hive'],
  }),
  ...timeoutSettings,
};

export type SettingName = keyof typeof settingCatalogue;

/** The settings of the catalogue that have these names. */
export function pick<N extends SettingName>(...names: readonly N[]): Pick<typeof settingCatalogue, N> {
  return Object.fromEntries(names.map((name) => [name, settingCatalogue[name]])) as Pick<typeof settingCatalogue, N>;
}

/** The settings that a key of the file sets, by that key. */
export const settingsByFileKey: ReadonlyMap<string, Setting> = new Map(
  Object.values<Setting>(settingCatalogue).flatMap((entry) => (entry.file === undefined ? [] : [[entry.file, entry]])),
);
