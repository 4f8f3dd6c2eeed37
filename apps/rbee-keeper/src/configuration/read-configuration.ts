import {
  findConfigFile,
  type Origin,
  type Program,
  type Resolved,
  redact,
  resolveSettings,
  type Setting,
  type SettingName,
  settingCatalogue,
  showValue,
} from '@rbee/daemon-kit/client';
import type { GlobalOptions } from '../global-options.js';
import type { KeeperEnvironment } from '../keeper-environment.js';

/** One setting as it would be for a program that starts now. */
export interface SettingRow {
  /** Key of the file, or the variable of a setting that has none. */
  readonly key: string;
  /** As JSON: durations in milliseconds, null where nothing is set. A secret is `[REDACTED]`. */
  readonly value: unknown;
  /** For people. */
  readonly shown: string;
  readonly origin: Origin;
  /** The flag, the variable or the file that the value is from. */
  readonly source: string | undefined;
  /** What the file says and a variable or a flag overrules, for people. */
  readonly hides: string | undefined;
  /** The programs that act upon it; none: it has no effect in this version. */
  readonly readBy: readonly Program[];
  readonly reload: 'live' | 'restart';
}

/** The configuration of all programs together. */
interface Configuration {
  /** The file in use, if there is one. */
  readonly file: string | undefined;
  /** Where it was looked for, in this order. */
  readonly searched: readonly string[];
  readonly rows: readonly SettingRow[];
}

/** Reads every setting of the catalogue. Throws CONFIG_INVALID that lists every problem, whichever program has it. */
export function readConfiguration(
  env: KeeperEnvironment,
  globals: Pick<GlobalOptions, 'config' | 'queen-url'>,
): Configuration {
  const { variables, home, cwd } = env;
  const { file, searched } = findConfigFile(env, globals.config);
  const flags = { queenUrl: globals['queen-url'] };
  const resolved = resolveSettings(settingCatalogue, { flags, variables, home, cwd, file });
  const rows = (Object.keys(settingCatalogue) as SettingName[]).map((name) => toRow(name, resolved));
  return { file: file?.name, searched, rows };
}

function toRow(name: SettingName, { values, origins, overridden }: Resolved<typeof settingCatalogue>): SettingRow {
  const definition: Setting = settingCatalogue[name];
  const value: unknown = values[name];
  const { readBy = [], reload = 'restart', shownDefault } = definition;
  const over = overridden.find(({ key }) => key === definition.file);
  return {
    key: definition.file ?? String(definition.env?.[0]),
    value: toJsonValue(definition, value),
    shown: value === undefined && shownDefault !== undefined ? shownDefault : redact(showValue(definition, value)),
    origin: origins[name].origin,
    source: origins[name].source,
    hides: over && redact(over.fileValue),
    readBy,
    reload,
  };
}

function toJsonValue(definition: Setting, value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return redact(showValue(definition, value));
}
