import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectModelFiles } from '../gguf/model-files.js';

/** Reads every model that comes with rbee. Throws when there is none, or one that is damaged. */
export async function checkBundledModels(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const models = names.filter((name) => name.endsWith('.gguf'));
  if (models.length === 0) throw new Error(`there is no model file in ${folder}`);
  for (const name of models) await inspectModelFiles(join(folder, name));
  return `${models.length} model files`;
}
