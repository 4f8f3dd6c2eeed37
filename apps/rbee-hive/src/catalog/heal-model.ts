import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { isRbeeError, type Model, type ModelFile } from '@rbee/protocol';
import type { ModelCatalog } from './model-catalog.js';
import { type DescribeOptions, describeModelFile, pathsOf, slugOf } from './model-file.js';

/** How the files of a row stand on the disk. A file that cannot be looked at counts as the same. */
type FilesState = 'same' | 'changed' | 'gone';

export interface HealOptions extends Omit<DescribeOptions, 'known'> {
  /** Whether files that look the same are read as well. */
  rereadAll?: boolean;
}

/**
 * A row brought in line with its files: the row itself, a new one for files that have changed, or undefined for a row that
 * was removed because its files have gone or are no model any more. The files themselves are left alone.
 */
export async function healModel(
  catalog: ModelCatalog,
  model: Model,
  { rereadAll = false, ...options }: HealOptions = {},
): Promise<Model | undefined> {
  const state = await readState(model);
  if (state === 'same' && !rereadAll) return model;
  const { provider, reference, variant = null, downloaded_at_unix, local_path } = model;
  try {
    if (state !== 'gone') {
      const columns = await describeModelFile(local_path, { ...options, known: knownFiles(model) });
      const identity = { provider, reference, variant, downloaded_at_unix };
      return await catalog.put({ ...identity, ...columns }, slugOf(local_path, columns.quantization));
    }
  } catch (error) {
    if (!isGone(error) && !(isRbeeError(error) && error.code === 'UNSUPPORTED_MODEL_FORMAT')) throw error;
  }
  await catalog.remove(model);
  return undefined;
}

/** Brings all rows in line with their files. */
export async function healModels(catalog: ModelCatalog): Promise<void> {
  for (const model of await catalog.list()) {
    // A row that an older version of rbee has written lacks what decides the memory.
    await healModel(catalog, model, { rereadAll: model.memory === undefined }).catch((error: unknown) => {
      // A file that cannot be read just now keeps its row.
      if (isRbeeError(error)) throw error;
    });
  }
}

/** Of a row that an older version of rbee has written, the files are not known: they count as changed. */
async function readState(model: Model): Promise<FilesState> {
  let state: FilesState = model.files === undefined ? 'changed' : 'same';
  for (const [part, path] of pathsOf(model).entries()) {
    const size = await sizeOf(path);
    if (size === 'gone') return 'gone';
    if (size !== 'unknown' && size !== model.files?.[part]?.size_bytes) state = 'changed';
  }
  return state;
}

async function sizeOf(path: string): Promise<number | 'gone' | 'unknown'> {
  try {
    const entry = await stat(path);
    return entry.isFile() ? entry.size : 'gone';
  } catch (error) {
    return isGone(error) ? 'gone' : 'unknown';
  }
}

function knownFiles({ files, local_path, size_bytes, digest }: Model): readonly ModelFile[] {
  return files ?? [{ name: basename(local_path), size_bytes, digest }];
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
