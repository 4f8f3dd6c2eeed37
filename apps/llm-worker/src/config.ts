import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import {
  type Environment,
  type LogLevel,
  pick,
  problemsOfKey,
  problemsOfOpenAddress,
  resolveSettings,
  Secret,
  ServiceKey,
  setting,
  settingType,
  type Timeouts,
  timeoutSettings,
} from '@rbee/daemon-kit';
import { BACKENDS, type Backend, BUNDLED_MODEL_REF, modelRefSchema, workerIdSchema } from '@rbee/protocol';

const BUNDLED_MODEL = fileURLToPath(new URL('../../../models/honeycomb-q4_k_m.gguf', import.meta.url));

const { text, path, port, count, choice } = settingType;

/** Every setting of a worker. Most come from the hive, on the command line. Durations are milliseconds. */
const workerTable = {
  workerId: setting<string | undefined>({
    ...text,
    schema: workerIdSchema,
    expected: 'a worker id such as worker-1',
    default: undefined,
  }),
  /** Model file; none: the bundled model. */
  model: setting<string | undefined>({ ...path, default: undefined }),
  modelRef: setting<string | undefined>({
    ...text,
    schema: modelRefSchema,
    expected: 'a model such as hf:org/repo or file:///path/to/model.gguf',
    default: undefined,
  }),
  backend: setting<Backend>({ ...choice(BACKENDS), default: 'cpu' }),
  device: setting<number>({ ...count(0), default: 0 }),
  host: setting<string>({ ...text, default: '127.0.0.1' }),
  port: setting<number>({ ...port, default: 8001 }),
  /** Address of the hive; none: this worker stands alone. */
  callbackUrl: setting<string | undefined>({
    ...text,
    schema: text.schema.refine((value) => /^http:/.test(value) && URL.canParse(value)),
    expected: 'an http:// address',
    default: undefined,
  }),
  apiKeyFile: setting<string | undefined>({ ...path, default: undefined }),
  apiKey: setting<string | undefined>({ ...text, default: undefined, secret: true }),
  slots: setting<number>({ ...count(1, 256), default: 4 }),
  /** Tokens that one slot holds; none: the engine's default for the model. */
  ctx: setting<number | undefined>({ ...count(8), default: undefined }),
  ...pick('logLevel'),
  ...timeoutSettings,
};

/** Flags of the command line, as text; `undefined` where a flag was not given. */
export type SettingFlags = Readonly<
  Partial<Record<keyof Omit<typeof workerTable, keyof typeof timeoutSettings>, string>>
>;

export interface WorkerSettings {
  readonly workerId: string;
  readonly modelPath: string;
  readonly modelRef: string;
  readonly backend: Backend;
  readonly device: number;
  readonly host: string;
  readonly port: number;
  readonly callbackUrl: string | undefined;
  /** Key that callers need, read for each of them: the former one is overwritten when `keyFile` has another. */
  readonly key: Secret | undefined;
  /** Owner of the key, where it is in a file, which can be read again. */
  readonly keyFile: ServiceKey | undefined;
  readonly slots: number;
  readonly contextSize: number | undefined;
  readonly logLevel: LogLevel;
  readonly timeouts: Timeouts;
}

/**
 * Merges defaults, environment and flags; a worker has no file, because whoever starts it tells it everything. Throws
 * CONFIG_INVALID, with every problem at once.
 */
export function readSettings(environment: Environment, flags: SettingFlags): WorkerSettings {
  const { variables, home, cwd } = environment;
  const given = { ...flags, callbackUrl: flags.callbackUrl || undefined };
  const { values } = resolveSettings(workerTable, { flags: given, variables, home, cwd }, (resolved) => {
    const { host, apiKeyFile: path, apiKey } = resolved.values;
    return [
      ...problemsOfKey(path === undefined ? path : { kind: 'file', path }, { key: '--api-key-file', origin: 'flag' }),
      ...problemsOfOpenAddress(host, path !== undefined || apiKey !== undefined, '--api-key-file'),
    ];
  });
  const { apiKeyFile: path, apiKey } = values;
  const keyFile = path === undefined ? undefined : ServiceKey.load({ kind: 'file', path });
  const inline = keyFile || apiKey === undefined ? undefined : new Secret(apiKey).remember();
  const timeouts = Object.keys(timeoutSettings).map((name) => [name, values[name as keyof Timeouts]]);
  return Object.freeze({
    workerId: values.workerId ?? `worker-${randomUUID()}`,
    modelPath: values.model ?? BUNDLED_MODEL,
    modelRef: values.modelRef ?? (values.model === undefined ? BUNDLED_MODEL_REF : `file://${values.model}`),
    backend: values.backend,
    device: values.device,
    host: values.host,
    port: values.port,
    callbackUrl: values.callbackUrl,
    get key() {
      return keyFile?.current ?? inline;
    },
    keyFile,
    slots: values.slots,
    contextSize: values.ctx,
    logLevel: values.logLevel,
    timeouts: Object.freeze(Object.fromEntries(timeouts)) as Timeouts,
  });
}
