import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeStateFolder, readSecretFile, Secret, writeSecretFile } from '@rbee/daemon-kit';

/**
 * Makes the key file of this machine's hive where there is none. Throws CONFIG_INVALID when one is there that cannot
 * be used.
 */
export function ensureTokenFile(path: string): void {
  makeStateFolder(dirname(path));
  if (!existsSync(path)) {
    try {
      writeSecretFile(path, new Secret(randomBytes(32).toString('hex')));
    } catch (error) {
      // Somebody else made it in this moment.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  readSecretFile(path);
}
