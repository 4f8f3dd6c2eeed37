import { randomUUID } from 'node:crypto';
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  type Environment,
  type LogLevel,
  readSecretFile,
  resolveSettings,
  Secret,
  setting,
  settingSchema,
  type Timeouts,
  timeoutSettings,
} from '@rbee/daemon-kit';
import {
  type Backend,
  BUNDLED_MODEL_REF,
  backendSchema,
  modelRefSchema,
  RbeeError,
  workerIdSchema,
} from '@rbee/protocol';

const BUNDLED_MODEL = fileURLToPath(new URL('../../../models/honeycomb-q4_k_m.gguf', import.meta.url));

/** Every setting of a worker. Most come from the hive, on the command line. Durations are milliseconds. */
const settingTable = {
  workerId: setting<string>({ schema: workerIdSchema, default: '' }),
  /** Model file; empty: the bundled model. */
  model: setting<string>({ schema: settingSchema.text, default: '' }),
  modelRef: setting<string>({ schema: modelRefSchema, default: '' }),
  backend: setting<Backend>({ schema: backendSchema, default: 'cpu' }),
  device: setting<number>({ schema: settingSchema.count, default: 0 }),
  host: setting<string>({ schema: settingSchema.text, default: '127.0.0.1' }),
  port: setting<number>({ schema: settingSchema.port, default: 8001 }),
  /** Address of the hive; empty: this worker stands alone. */
  callbackUrl: setting<string>({
    schema: settingSchema.text.refine(
      (text) => /^http:/.test(text) && URL.canParse(text),
      'must be an http:// address',
    ),
    default: '',
  }),
  apiKeyFile: setting<string>({ schema: settingSchema.text, default: '' }),
  apiKey: setting<string>({ schema: settingSchema.text, default: '' }),
  slots: setting<number>({
    schema: settingSchema.count.refine((count) => count >= 1 && count <= 256, 'must be 1 to 256'),
    default: 4,
  }),
  /** Tokens that one slot holds; 0: the engine's default for the model. */
  ctx: setting<number>({
    schema: settingSchema.count.refine((tokens) => tokens >= 8, 'must be 8 or more'),
    default: 0,
  }),
  logLevel: setting<LogLevel>({ schema: settingSchema.logLevel, default: 'info', env: ['RBEE_LOG_LEVEL'] }),
  ...timeoutSettings,
};

/** Flags of the command line, as text; `undefined` where a flag was not given. */
export type SettingFlags = Readonly<
  Partial<Record<keyof Omit<typeof settingTable, keyof typeof timeoutSettings>, string>>
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
  readonly key: Secret | undefined;
  readonly slots: number;
  readonly contextSize: number | undefined;
  readonly logLevel: LogLevel;
  readonly timeouts: Timeouts;
}

/** Merges defaults, environment and flags. Throws CONFIG_INVALID, with every problem at once. */
export function readSettings(environment: Environment, flags: SettingFlags): WorkerSettings {
  const given = { ...flags, callbackUrl: flags.callbackUrl || undefined };
  const { values } = resolveSettings(settingTable, { flags: given, variables: environment.variables });
  const key = values.apiKeyFile
    ? readSecretFile(resolve(environment.cwd, values.apiKeyFile))
    : values.apiKey
      ? new Secret(values.apiKey)
      : undefined;
  refuseOpenAddress(values.host, key);
  const modelPath = values.model ? resolve(environment.cwd, values.model) : BUNDLED_MODEL;
  const timeouts = Object.keys(timeoutSettings).map((name) => [name, values[name as keyof Timeouts]]);
  return Object.freeze({
    workerId: values.workerId || `worker-${randomUUID()}`,
    modelPath,
    modelRef: values.modelRef || (values.model ? toFileRef(modelPath) : BUNDLED_MODEL_REF),
    backend: values.backend,
    device: values.device,
    host: values.host,
    port: values.port,
    callbackUrl: values.callbackUrl || undefined,
    key,
    slots: values.slots,
    contextSize: values.ctx || undefined,
    logLevel: values.logLevel,
    timeouts: Object.freeze(Object.fromEntries(timeouts)) as Timeouts,
  });
}

function toFileRef(path: string): string {
  return isAbsolute(path) ? `file://${path}` : pathToFileURL(path).href;
}

function refuseOpenAddress(host: string, key: Secret | undefined): void {
  if (key || /^(localhost|127(\.\d+){3}|::1)$/.test(host)) return;
  throw new RbeeError('CONFIG_INVALID', `${host} can be reached from other machines, and no key is configured`, {
    details: { host },
    suggestion: 'give a file with a key (--api-key-file, chmod 600), or listen on 127.0.0.1',
  });
}
