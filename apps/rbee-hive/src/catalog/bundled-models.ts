import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLED_MODEL_REF, parseModelRef } from '@rbee/protocol';
import type { ModelCatalog } from './model-catalog.js';
import { describeModelFile, slugOf } from './model-file.js';

const REFERENCE = parseModelRef(BUNDLED_MODEL_REF)?.reference ?? '';
const FILE_NAME = new RegExp(`^${REFERENCE}-([\\w.-]+)\\.gguf$`);

/**
 * Enters the model that comes with rbee, one row for each variant whose file is in `folder`. Paths are derived anew at
 * each start, so that a moved installation heals; rows without a file go. Files that are known are not read again.
 */
export async function registerBundledModels(catalog: ModelCatalog, folder: string, nowUnix: number): Promise<void> {
  const files = await readdir(folder).catch(() => []);
  const present = new Map<string, string>();
  for (const file of files) {
    const variant = FILE_NAME.exec(file)?.[1];
    if (variant !== undefined) present.set(variant, join(folder, file));
  }
  for (const [variant, path] of present) {
    const known = await catalog.find({ provider: 'builtin', reference: REFERENCE, variant });
    if (known?.local_path === path && known.size_bytes === (await stat(path)).size) continue;
    const columns = await describeModelFile(path);
    const identity = { provider: 'builtin' as const, reference: REFERENCE, variant, downloaded_at_unix: nowUnix };
    await catalog.put({ ...identity, ...columns }, slugOf(path, null));
  }
  for (const model of await catalog.list('builtin')) {
    if (model.variant === undefined || !present.has(model.variant)) await catalog.remove(model);
  }
}
