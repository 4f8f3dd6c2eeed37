import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { signalIfThere } from '../features/support/process-signal.js';
import { waitUntil } from '../features/support/wait.js';
import type { Site } from './site.js';

/** Arguments of Node with which a daemon can be asked for what it holds. */
export const TELLS_MEMORY = ['--import', pathToFileURL(join(import.meta.dirname, 'tell-memory.mjs')).href];

/** What a daemon of the site's own machine that was started with `TELLS_MEMORY` holds after its garbage was collected, in MiB. */
export async function heldMiB(site: Site, pid: number): Promise<number> {
  const file = join(site.home, 'tmp', `held-${pid}`);
  let bytes = Number.NaN;
  signalIfThere(pid, 'SIGUSR2');
  await waitUntil(
    () => {
      try {
        bytes = Number(readFileSync(file, 'utf8'));
        return true;
      } catch {
        return false;
      }
    },
    () => `process ${pid} does not tell what it holds`,
  );
  rmSync(file);
  return bytes / 1024 ** 2;
}
