import { join } from 'node:path';
import { userPaths } from '@rbee/daemon-kit';
import { RbeeError, toRbeeError } from '@rbee/protocol';
import { loadHiveConfig } from '../../config.js';
import { HiveRecords } from '../../hive-records.js';
import { INSTALLATION_ROOT } from '../../installation.js';
import { isReleaseId } from '../../release/release-folder.js';
import { runSelfTest } from '../../self-test/self-test.js';
import { defineCommand, printJson, UsageError } from '../command.js';
import { readRoot } from './root.js';

export const releaseActivate = defineCommand({
  name: 'release activate',
  usage: 'release activate --root <folder> --release <id> [--config <file>]',
  options: { root: { type: 'string' }, release: { type: 'string' }, config: { type: 'string' } },
  async run({ root, release: id, config }, { environment, installation }) {
    const releases = readRoot(root, environment);
    if (id === undefined) throw new UsageError('--release is missing');
    if (!isReleaseId(id)) throw new UsageError('--release must be letters, digits, dots, dashes and underscores');
    try {
      const { catalogDb, runDir } = loadHiveConfig(environment, { config });
      // SQLite is loaded for this command only.
      const { activateRelease } = await import('../../release/activate-release.js');
      const activated = await activateRelease({
        releases,
        id,
        ownInstallation: INSTALLATION_ROOT,
        selfTest: () => runSelfTest(environment, { installation, catalogDb }),
        catalogDb,
        backupsDir: join(userPaths(environment).state, 'backups'),
        hives: new HiveRecords(join(runDir, 'hives')),
        clock: environment.clock,
      });
      printJson(environment, activated);
      return 0;
    } catch (thrown) {
      const error = toActivationError(id, thrown);
      // For the program that runs this; the terminal gets the same in words.
      const { code, message, suggestion, details } = error;
      const { checks = [], ...facts } = details;
      printJson(environment, { error: { code, message, suggestion, details: facts }, checks });
      throw error;
    }
  },
});

/** What the file system refused is no fault of the program. */
function toActivationError(id: string, thrown: unknown): RbeeError {
  const { syscall, code, message } = thrown as NodeJS.ErrnoException;
  if (syscall === undefined) return toRbeeError(thrown);
  return new RbeeError('INSTALL_FAILED', `the release ${id} cannot be activated: ${message}`, {
    details: { step: 'activate', release: id, cause: code },
    suggestion: 'give this user write permission on the folder and free some space (df -h), then install again',
    cause: thrown,
  });
}
