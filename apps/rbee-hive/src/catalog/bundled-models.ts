import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLED_MODEL_REF, type Model, parseModelRef } from '@rbee/protocol';
import type { ModelCatalog } from './model-catalog.js';
import { describeModelFile, type FileColumns, slugOf } from './model-file.js';

const REFERENCE = parseModelRef(BUNDLED_MODEL_REF)?.reference ?? '';
const FILE_NAME = new RegExp(`^${REFERENCE}-([\\w.-]+)\\.gguf$`);

/**
 * Enters the model that comes with rbee, one row for each variant whose file is in `folder`. Paths are derived anew at
 * each start, so that a moved installation heals; rows without a file go. Files that are known are not read again, and one
 * that cannot be read is left out.
 */
export async function registerBundledModels(
  catalog: ModelCatalog,
  folder: string,
  nowUnix: number,
  onFault: (path: string, error: unknown) => void = () => undefined,
): Promise<void> {
  const files = await readdir(folder).catch(() => []);
  const present = new Map<string, string>();
  for (const file of files) {
    const variant = FILE_NAME.exec(file)?.[1];
    if (variant !== undefined) present.set(variant, join(folder, file));
  }
  const rows = await catalog.list('builtin');
  for (const [variant, path] of present) {
    const known = rows.find((row) => row.reference === REFERENCE && row.variant === variant);
    const columns = await describeNew(path, known).catch((error: unknown) => onFault(path, error));
    if (!columns) continue;
    const identity = { provider: 'builtin' as const, reference: REFERENCE, variant, downloaded_at_unix: nowUnix };
    await catalog.put({ ...identity, ...columns }, slugOf(path, null));
  }
  for (const model of rows) {
    if (model.variant === undefined || !present.has(model.variant)) await catalog.remove(model);
  }
}

/** Undefined for a file that is known as it is. */
async function describeNew(path: string, known: Model | undefined): Promise<FileColumns | undefined> {
  const [file] = known?.files ?? [];
  const isKnown = known?.local_path === path && file?.size_bytes === (await stat(path)).size;
  return isKnown ? undefined : describeModelFile(path);
}
