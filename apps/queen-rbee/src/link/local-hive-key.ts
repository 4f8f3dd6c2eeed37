import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSecretFile, readSecretFile, type Secret } from '@rbee/daemon-kit';

/** What to check when a hive of this machine refuses the queen's key. */
export const LOCAL_KEY_ADVICE =
  'set auth.hive_token_file to the file with the key of that hive; one that was started with auth.api_token_file alone has ' +
  'that key. Or end that hive: the queen starts one that it can call';

export interface LocalHiveKeyOptions {
  /** The file that the configuration names; `undefined`: the one that a hive has that was installed as a service. */
  readonly configured: string | undefined;
  /** Folder of the user's state. */
  readonly stateFolder: string;
}

/**
 * Where the key of this machine's hive is. It is not the queen's own: whoever may ask the one may not ask the other. A hive
 * that the queen starts is told to use this file, and one that was installed as a service uses it by itself.
 */
export class LocalHiveKey {
  /** Path of the key file, whether there is one or not. */
  readonly file: string;
  readonly #configured: boolean;

  constructor({ configured, stateFolder }: LocalHiveKeyOptions) {
    this.file = configured ?? join(stateFolder, 'secrets', 'hive.token');
    this.#configured = configured !== undefined;
  }

  /** The file, as far as it is to be read: without one, a hive was started that takes everybody. */
  get present(): string | undefined {
    // One that the configuration names has to be there, and whoever reads it says that it is missing.
    return this.#configured || existsSync(this.file) ? this.file : undefined;
  }

  /** The key to call a hive with. Throws CONFIG_INVALID for a file that cannot be used. */
  read(): Secret | undefined {
    const { present } = this;
    return present === undefined ? undefined : readSecretFile(present);
  }

  /** Sees to it that a hive that is to be started has a key. Throws CONFIG_INVALID for a file that cannot be made or used. */
  provide(): void {
    const key = this.#configured ? readSecretFile(this.file) : ensureSecretFile(this.file);
    key.dispose();
  }
}
