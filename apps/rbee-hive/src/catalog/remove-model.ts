import { realpath, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Model, type ModelRemoval, RbeeError } from '@rbee/protocol';
import { HUB_FOLDER } from './hub-models.js';
import type { ModelCatalog } from './model-catalog.js';
import { pathsOf } from './model-file.js';

export interface RemovalOptions {
  catalog: ModelCatalog;
  modelsDir: string;
  /** Ids of the workers that have a model loaded, or are about to. */
  inUse: (model: Model) => readonly string[];
}

/**
 * Removes a model: its row, and its files where they lie in the models folder. A file outside stays. Throws MODEL_NOT_FOUND,
 * FORBIDDEN for a bundled model, for one that a worker uses and for files that may not be deleted, or CATALOG_UNAVAILABLE.
 */
export async function removeModel({ catalog, modelsDir, inUse }: RemovalOptions, id: string): Promise<ModelRemoval> {
  const model = await catalog.get(id);
  if (model.provider === 'builtin') throw bundled(model);
  // The same file may be known by its path as well.
  const same = (await catalog.list()).filter(({ local_path }) => local_path === model.local_path);
  const inside = await isInside(model.local_path, modelsDir);
  const rows = inside ? same : [model];
  const workers = rows.flatMap((row) => inUse(row));
  if (workers.length > 0) throw used(model, workers);
  const freed = inside ? await deleteFiles(model) : 0;
  for (const row of rows) await catalog.remove(row);
  if (inside) await removeEmptyFolders(dirname(model.local_path), join(modelsDir, HUB_FOLDER));
  return { model, freed_bytes: freed, file_removed: inside };
}

/** Removes a folder and those above it as long as they are empty, up to but without `top`, inside which it has to be. */
export async function removeEmptyFolders(folder: string, top: string): Promise<void> {
  for (let current = resolve(folder); current.startsWith(resolve(top) + sep); current = dirname(current)) {
    const removed = await rmdir(current).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

/** Size of what was deleted. The first file goes last: as long as it is there, a removal that failed can be repeated. */
async function deleteFiles(model: Model): Promise<number> {
  let freed = 0;
  for (const path of pathsOf(model).reverse()) {
    const size = await stat(path).then(
      (entry) => entry.size,
      () => 0,
    );
    await rm(path, { force: true }).catch((cause: NodeJS.ErrnoException) => {
      throw undeletable(model, cause);
    });
    freed += size;
  }
  return freed;
}

async function isInside(path: string, folder: string): Promise<boolean> {
  const [file, root] = await Promise.all([path, folder].map((each) => realpath(each).catch(() => resolve(each))));
  const inner = relative(root ?? '', file ?? '');
  return inner !== '' && inner !== '..' && !inner.startsWith(`..${sep}`);
}

function bundled({ id, model_ref }: Model): RbeeError {
  return new RbeeError('FORBIDDEN', `${model_ref} comes with rbee and cannot be removed`, {
    details: { model: id },
    suggestion: 'rbee-keeper models list shows the models that can',
  });
}

function used({ id, model_ref }: Model, workers: readonly string[]): RbeeError {
  const many = workers.length > 1;
  return new RbeeError('FORBIDDEN', `${model_ref} is used by the worker${many ? 's' : ''} ${workers.join(', ')}`, {
    details: { model: id, workers },
    suggestion: `${workers.map((worker) => `rbee-keeper workers shutdown --id ${worker}`).join('; ')}, then repeat the command`,
  });
}

function undeletable({ id, model_ref }: Model, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('FORBIDDEN', `the files of ${model_ref} cannot be deleted (${cause.code})`, {
    details: { model: id, cause: cause.code },
    suggestion: 'check the permissions of the models folder on the node, then repeat the command',
    cause,
  });
}
