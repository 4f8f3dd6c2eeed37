import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type RbeeError, toRbeeError } from '@rbee/protocol';
import type { Clock } from './clock.js';
import { type Setting, type SettingTable, showValue, type ValuesOf } from './setting.js';
import type { Override, Resolved } from './settings.js';

/** What one reading of the configuration gave: whole and valid. */
export interface LoadedSettings<T extends SettingTable> {
  readonly resolved: Resolved<T>;
  /** Path of the configuration file, if there is one. */
  readonly file: string | undefined;
}

/** Both values are as `showValue` gives them. */
export interface SettingChange {
  /** Key of the file, or variable where there is no key. */
  readonly key: string;
  readonly from: string;
  readonly to: string;
}

/** What a load or reload did. */
export interface LoadReport {
  /** UUID that links everything that is told about it. */
  readonly id: string;
  readonly kind: 'load' | 'reload';
  readonly file: string | undefined;
  readonly durationMs: number;
  /** How many values come from the file or the environment. */
  readonly configured: number;
  readonly overridden: readonly Override[];
  /** What counts from now on. */
  readonly changed: readonly SettingChange[];
  /** What is configured in another way than this process runs with, and counts after a restart. */
  readonly needsRestart: readonly SettingChange[];
  /** Why nothing was changed. */
  readonly error?: RbeeError;
}

/**
 * Owner of a daemon's settings. A reload reads everything first, and only then puts it in place: one mistake, and nothing
 * changes. Of what was read, only settings that are `reload: 'live'` get new values.
 */
export class LiveSettings<T extends SettingTable> {
  /** The values that count now: a field is to be read when it is needed, and not copied. */
  readonly values: ValuesOf<T>;
  /** What the first reading gave. */
  readonly loaded: LoadReport;
  readonly #table: T;
  readonly #read: () => LoadedSettings<T>;
  readonly #clock: Clock;
  readonly #first: ValuesOf<T>;
  readonly #listeners = new Set<() => void>();
  #newest: ValuesOf<T>;

  /** Reads for the first time; throws what `read` throws. `read` is called again for each reload. */
  constructor(table: T, read: () => LoadedSettings<T>, clock: Clock) {
    const begin = clock.monotonic();
    const first = read();
    this.#table = table;
    this.#read = read;
    this.#clock = clock;
    this.#first = first.resolved.values;
    this.#newest = this.#first;
    this.values = this.#view();
    this.loaded = this.#report('load', begin, first, { changed: [], needsRestart: [] });
  }

  /** Reads the configuration again. Never throws: a mistake stands in the report. */
  reload(): LoadReport {
    const begin = this.#clock.monotonic();
    let next: LoadedSettings<T>;
    try {
      next = this.#read();
    } catch (thrown) {
      const error = toRbeeError(thrown);
      const file = typeof error.details.file === 'string' ? error.details.file : this.loaded.file;
      const nothing = { configured: 0, overridden: [], changed: [], needsRestart: [] };
      return { ...this.#heading('reload', begin), ...nothing, file, error };
    }
    const settings = Object.entries<Setting>(this.#table);
    const changesOf = (live: boolean, before: ValuesOf<T>) =>
      settings
        .filter(([, definition]) => (definition.reload === 'live') === live)
        .flatMap(([name, definition]) => toChange(name, definition, before[name], next.resolved.values[name]));
    const changed = changesOf(true, this.#newest);
    const needsRestart = changesOf(false, this.#first);
    this.#newest = next.resolved.values;
    if (changed.length > 0) for (const listener of this.#listeners) listener();
    return this.#report('reload', begin, next, { changed, needsRestart });
  }

  /** Calls a listener after each reload that changed something. The returned function ends that. */
  onChanged(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #view(): ValuesOf<T> {
    const view = {};
    for (const [name, definition] of Object.entries<Setting>(this.#table)) {
      const get = definition.reload === 'live' ? () => this.#newest[name] : () => this.#first[name];
      Object.defineProperty(view, name, { get, enumerable: true });
    }
    return Object.freeze(view) as ValuesOf<T>;
  }

  #heading(kind: LoadReport['kind'], begin: number) {
    return { id: randomUUID(), kind, durationMs: this.#clock.monotonic() - begin };
  }

  #report(
    kind: LoadReport['kind'],
    begin: number,
    { resolved, file }: LoadedSettings<T>,
    changes: Pick<LoadReport, 'changed' | 'needsRestart'>,
  ): LoadReport {
    const origins = Object.values<Resolved<T>['origins'][keyof T]>(resolved.origins);
    const configured = origins.filter(({ origin }) => origin === 'file' || origin === 'environment').length;
    return { ...this.#heading(kind, begin), file, configured, overridden: resolved.overridden, ...changes };
  }
}

function toChange(name: string, definition: Setting, from: unknown, to: unknown): SettingChange[] {
  if (isDeepStrictEqual(from, to)) return [];
  const key = definition.file ?? definition.env?.[0] ?? name;
  return [{ key, from: showValue(definition, from), to: showValue(definition, to) }];
}
