import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { digestOfFile } from '../catalog/digest.js';
import { HUB_FOLDER } from '../catalog/hub-models.js';
import { type ExpectedFile, isPartialName, partialPathOf, readPartialSize } from '../transfer/partial-file.js';
import { deletePartial } from '../transfer/partial-lock.js';

/** One file of a model, and where it goes. */
export interface PlacedFile extends ExpectedFile {
  /** Without a folder. */
  readonly name: string;
  readonly target: string;
}

/** Folder of a hub model: `<models_dir>/hf/<org>/<repo>/<variant>`, with `--` for each `/` of a variant. */
export function hubModelFolder(modelsDir: string, reference: string, variant: string): string {
  return join(modelsDir, HUB_FOLDER, ...reference.split('/'), variant.replaceAll('/', '--'));
}

/** A file of a repository in the folder of its model. */
export function placeFile(folder: string, path: string, expected: ExpectedFile): PlacedFile {
  const name = basename(path);
  return { name, target: join(folder, name), sizeBytes: expected.sizeBytes, digest: expected.digest };
}

/**
 * Whether a file stands complete under its final name, with the right digest where one is known. `onReading` is called when
 * it has to be read for that. Throws the signal's reason.
 */
export async function isComplete(file: PlacedFile, signal: AbortSignal, onReading: () => void): Promise<boolean> {
  const { target, sizeBytes, digest } = file;
  if ((await sizeOf(target)) !== sizeBytes) return false;
  if (digest === undefined) return true;
  onReading();
  return (await digestOfFile(target, signal)) === digest;
}

/** Bytes of a model that are on disk, in complete files or in those that are gone on with. */
export async function countPresentBytes(files: readonly PlacedFile[]): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    const whole = (await sizeOf(file.target)) === file.sizeBytes;
    bytes += whole ? file.sizeBytes : await readPartialSize(file.target, file);
  }
  return bytes;
}

/** Deletes what earlier downloads of other files have left in the folder of a model, except what somebody writes to. */
export async function deleteStalePartials(folder: string, files: readonly PlacedFile[]): Promise<void> {
  const wanted = new Set(files.map((file) => basename(partialPathOf(file.target, file))));
  const names = await readdir(folder).catch(() => []);
  for (const name of names) if (isPartialName(name) && !wanted.has(name)) await deletePartial(join(folder, name));
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );
}
