import { realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '@rbee/daemon-kit';
import { isRbeeError, type Model, type ModelRef, parseModelRef, type ScanResult } from '@rbee/protocol';
import { healModel } from '../catalog/heal-model.js';
import { HUB_FOLDER, hubRefOf } from '../catalog/hub-models.js';
import type { ModelCatalog } from '../catalog/model-catalog.js';
import { describeModelFile, slugOf } from '../catalog/model-file.js';
import { removeEmptyFolders } from '../catalog/remove-model.js';
import { deletePartial } from '../transfer/partial-lock.js';
import { type FoundFile, type FoundFiles, findModelFiles } from './find-model-files.js';

export interface ScanOptions {
  catalog: ModelCatalog;
  clock: Clock;
  modelsDir: string;
  /** Folders to look through; those that `file:` references may point into. */
  roots: readonly string[];
  /** Whether a model of the hub is being fetched: its files get their row when all of them are there. */
  isFetched?: (ref: ModelRef) => boolean;
  signal?: AbortSignal;
}

/** A partial file that nobody has written to for so long is not gone on with. */
const ABANDONED_MS = 7 * 24 * 3_600_000;

/**
 * Brings catalog and folders in line. Rows without files go, changed files are read anew, files without a row get one: as a
 * model of the hub where they lie in its folder, else by their path. Abandoned partial files are deleted. Throws
 * CATALOG_UNAVAILABLE or the signal's reason; what was done until then stays.
 */
export async function scanModels(options: ScanOptions): Promise<ScanResult> {
  const { modelsDir, roots, signal } = options;
  const result: ScanResult = { added: [], removed: [], changed: [], refused: [], removed_partials: [] };
  const known = await healRows(options, result);
  const found = await findModelFiles([modelsDir, ...roots], signal);
  result.refused.push(...found.refused);
  for (const file of found.models) {
    signal?.throwIfAborted();
    if (!known.has(file.real)) await guard(file.name, result, signal, () => addFile(file, found, options, result));
  }
  for (const partial of found.partials) {
    await guard(partial.name, result, signal, () => removeAbandoned(partial, options, result));
  }
  return result;
}

/** Returns the real paths of the first files of all rows that stay. */
async function healRows({ catalog, signal }: ScanOptions, result: ScanResult): Promise<Set<string>> {
  const known = new Set<string>();
  for (const model of await catalog.list()) {
    signal?.throwIfAborted();
    await guard(model.model_ref, result, signal, async () => {
      // Whoever copies a model of the hub from here has to know its digest.
      const undigested = model.provider === 'hf' && model.digest === undefined;
      const healed = await healModel(catalog, model, {
        signal,
        ...(undigested && { digests: 'all', rereadAll: true }),
      });
      if (healed === undefined) result.removed.push(model);
      else if (healed !== model) result.changed.push(healed);
      if (healed !== undefined) known.add(await realpath(healed.local_path).catch(() => healed.local_path));
    });
  }
  return known;
}

async function addFile(
  file: FoundFile,
  found: FoundFiles,
  { catalog, clock, modelsDir, isFetched = () => false, signal }: ScanOptions,
  result: ScanResult,
): Promise<void> {
  const hubRef = hubRefOf(modelsDir, file.path);
  const folder = dirname(file.path);
  // Of a split model that is fetched or was begun, the first file may be complete already.
  if (hubRef && (isFetched(hubRef) || found.partials.some((partial) => dirname(partial.path) === folder))) return;
  const isFree = hubRef !== undefined && !(await hasVariant(catalog, hubRef));
  if (!isFree && parseModelRef(`file://${file.path}`) === undefined) {
    const reason = 'no reference can name it: its path is too long, or has other characters than references have';
    result.refused.push({ name: file.name, reason });
    return;
  }
  const columns = await describeModelFile(file.path, { digests: isFree ? 'all' : 'small', signal });
  const identity = isFree
    ? { provider: hubRef.provider, reference: hubRef.reference, variant: hubRef.variant ?? null }
    : { provider: 'local' as const, reference: file.path, variant: null };
  const downloaded_at_unix = Math.floor(clock.now() / 1000);
  result.added.push(
    await catalog.put({ ...identity, ...columns, downloaded_at_unix }, slugOf(file.path, columns.quantization)),
  );
}

/** Of two files in the folder of one variant, the first is the model. */
async function hasVariant(
  catalog: ModelCatalog,
  { reference, variant }: ModelRef & { provider: 'hf' },
): Promise<boolean> {
  const rows: Model[] = await catalog.list('hf');
  return rows.some((row) => row.reference === reference && row.variant === variant);
}

async function removeAbandoned(
  { path, name }: FoundFile,
  { clock, modelsDir }: ScanOptions,
  result: ScanResult,
): Promise<void> {
  const hubFolder = join(modelsDir, HUB_FOLDER);
  const isOurs = path.startsWith(join(modelsDir, '/'));
  if (!isOurs || clock.now() - (await stat(path)).mtimeMs < ABANDONED_MS) return;
  const size = await deletePartial(path);
  if (size === undefined) return;
  result.removed_partials.push({ name, size_bytes: size });
  await removeEmptyFolders(dirname(path), hubFolder);
}

/** A file that is no model, or cannot be read, is told and does not end the scan. */
async function guard(
  name: string,
  { refused }: ScanResult,
  signal: AbortSignal | undefined,
  step: () => Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    signal?.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    if (isRbeeError(error) && error.code !== 'UNSUPPORTED_MODEL_FORMAT') throw error;
    if (code === undefined) throw error;
    refused.push({ name, reason: isRbeeError(error) ? message : `the file cannot be read (${code})` });
  }
}
