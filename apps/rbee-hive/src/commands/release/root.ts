import { resolve } from 'node:path';
import type { Environment } from '@rbee/daemon-kit';
import { ReleaseFolder } from '../../release/release-folder.js';
import { UsageError } from '../command.js';

/** The installation that `--root` names. */
export function readRoot(root: string | undefined, { cwd }: Pick<Environment, 'cwd'>): ReleaseFolder {
  if (root === undefined || root === '') throw new UsageError('--root is missing');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\x00-\x1f\x7f]/.test(root)) throw new UsageError('--root must not hold control characters');
  return new ReleaseFolder(resolve(cwd, root));
}
