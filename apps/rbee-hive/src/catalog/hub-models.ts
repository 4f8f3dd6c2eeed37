import { basename, dirname, join, relative, sep } from 'node:path';
import { fileStem, type Model, type ModelFile, type ModelRef, parseModelRef, RbeeError } from '@rbee/protocol';
import type { ModelCatalog } from './model-catalog.js';
import { describeModelFile, slugOf } from './model-file.js';

/** A model of the hub that is complete and verified on this machine. */
export interface CompleteModel {
  /** `org/repo`. */
  readonly reference: string;
  readonly variant: string;
  /** Path of its first file. */
  readonly path: string;
  /** In the order of their parts; a digest is the one that was verified. */
  readonly files: readonly ModelFile[];
}

/**
 * Enters a model of the hub, or renews its row. Throws UNSUPPORTED_MODEL_FORMAT for files that are no model, among them a
 * split model with parts other than those named; it deletes nothing: the caller ends its download with that error and
 * removes what it has fetched, which would be the same the next time. File system errors pass.
 */
export async function registerHubModel(
  catalog: ModelCatalog,
  { reference, variant, path, files }: CompleteModel,
  nowUnix: number,
): Promise<Model> {
  const columns = await describeModelFile(path, { known: files });
  if (columns.files.length !== files.length) {
    throw new RbeeError(
      'UNSUPPORTED_MODEL_FORMAT',
      `${basename(path)} is part of a model of ${columns.files.length} files, and ${files.length} were fetched`,
      {
        details: { reason: 'missing_part', parts: columns.files.length, fetched: files.length },
        suggestion: 'use another variant: rbee-keeper models variants lists them',
      },
    );
  }
  const identity = { provider: 'hf' as const, reference, variant, downloaded_at_unix: nowUnix };
  return catalog.put({ ...identity, ...columns }, slugOf(path, columns.quantization));
}

/** Folder below the models folder where models of the hub lie. */
export const HUB_FOLDER = 'hf';

/** The reference that a file lies in the folder of; undefined for a file that lies elsewhere. */
export function hubRefOf(modelsDir: string, path: string): (ModelRef & { provider: 'hf' }) | undefined {
  const [org, repo, folder, ...rest] = relative(join(modelsDir, HUB_FOLDER), dirname(path)).split(sep);
  if (org === undefined || repo === undefined || folder === undefined || rest.length > 0) return undefined;
  const stem = fileStem(path);
  // Only a variant that is a path in the repository has folders, and it ends with the name of its file.
  const variant = folder.endsWith(`--${stem}`)
    ? `${folder.slice(0, -stem.length - 2).replaceAll('--', '/')}/${stem}`
    : folder;
  const ref = parseModelRef(`hf:${org}/${repo}:${variant}`);
  return ref?.provider === 'hf' ? ref : undefined;
}
