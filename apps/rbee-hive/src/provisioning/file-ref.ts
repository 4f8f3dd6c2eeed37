import { lstat, realpath } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { RbeeError } from '@rbee/protocol';

/**
 * The file that a `file:` reference means: a regular file inside an allowed root, reached without `..` and without a
 * symlink below the root. Throws INVALID_PATH with `details.reason`, or MODEL_NOT_FOUND when nothing is there. The
 * path itself is never part of an answer.
 */
export async function resolveFileRef(path: string, roots: readonly string[]): Promise<string> {
  if (path.split('/').some((name) => name === '..' || name === '.')) {
    throw invalidPath('path_traversal', 'must not contain "." or ".." as a part');
  }
  const file = resolve(path);
  const root = await findRoot(file, roots);
  if (root === undefined) throw invalidPath('absolute_path', 'lies outside the folders that models may come from');
  let current = root;
  const parts = relative(root, file).split(sep);
  for (const [depth, part] of parts.entries()) {
    current = join(current, part);
    const entry = await lstat(current).catch((cause: NodeJS.ErrnoException) => {
      throw toAccessError(cause, file);
    });
    if (entry.isSymbolicLink()) throw invalidPath('symlink', 'must not lead through a symbolic link');
    const last = depth === parts.length - 1;
    if (last && !entry.isFile()) throw invalidPath('not_a_file', 'is not a regular file');
  }
  return current;
}

/** A root may itself be reached through a link (as /tmp on macOS), so its real path is a root as well. */
async function findRoot(file: string, roots: readonly string[]): Promise<string | undefined> {
  for (const root of roots) {
    const real = await realpath(root).catch(() => root);
    const match = [resolve(root), real].find((candidate) => isInside(file, candidate));
    if (match !== undefined) return match;
  }
  return undefined;
}

function isInside(file: string, root: string): boolean {
  const path = relative(root, file);
  return path !== '' && !path.startsWith('..') && !isAbsolute(path);
}

function toAccessError(cause: NodeJS.ErrnoException, file: string): RbeeError {
  if (cause.code === 'EACCES') return invalidPath('no_permission', 'may not be read by this user', cause);
  return new RbeeError(
    'MODEL_NOT_FOUND',
    `there is no file ${basename(file)} at the place that the model reference names`,
    {
      details: { file: basename(file) },
      suggestion: 'check the path: it is one on the node that shall run the model',
      cause,
    },
  );
}

function invalidPath(reason: string, message: string, cause?: unknown): RbeeError {
  return new RbeeError('INVALID_PATH', `the path of the model ${message}`, {
    details: { reason },
    suggestion:
      "put the file itself into the node's models folder (default ~/.local/share/rbee/models), or add its folder to " +
      'RBEE_MODEL_ROOTS of the hive',
    cause,
  });
}
