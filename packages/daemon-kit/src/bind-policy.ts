import { isIPv4 } from 'node:net';
import { isRbeeError } from '@rbee/protocol';
import { type KeySource, ServiceKey } from './service-key.js';
import type { Origin, SettingProblem } from './settings.js';

const KEY_FILE = 'the path of a file with a key (mode 0600)';

/** Whether only this machine reaches what listens on an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/**
 * What is wrong with an address that other machines reach while no key is demanded. `key` is the setting that would name
 * the key file, as the user writes it.
 */
export function problemsOfOpenAddress(host: string, hasKey: boolean, key: string): readonly SettingProblem[] {
  if (hasKey || isLoopback(host)) return [];
  return [
    {
      key,
      origin: key.startsWith('-') ? 'flag' : 'default',
      expected: KEY_FILE,
      message: `expected ${KEY_FILE}, because ${host} can be reached from other machines`,
      suggestion: `set ${key} to a file with a key (chmod 600), or listen on 127.0.0.1`,
    },
  ];
}

/** Which setting names a key file: its key, variable or flag, as the user writes it. */
export interface KeySetting {
  readonly key: string;
  readonly origin: Origin;
}

/** What is wrong with a key, so that it is told together with all that is wrong with the configuration. */
export function problemsOfKey(source: KeySource | undefined, { key, origin }: KeySetting): readonly SettingProblem[] {
  if (source === undefined) return [];
  try {
    ServiceKey.load(source).close();
    return [];
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    const { message, suggestion } = error;
    const from: KeySetting = source.kind === 'file' ? { key, origin } : { key: source.path, origin: 'environment' };
    return [{ ...from, expected: KEY_FILE, message, ...(suggestion && { suggestion }) }];
  }
}
