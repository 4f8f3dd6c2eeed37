import type { ModelFile } from '@rbee/protocol';
import { digestOfFile } from '../catalog/digest.js';
import type { CompleteModel } from '../catalog/hub-models.js';
import type { PlacedFile } from './model-place.js';

/** What is registered of a model; a digest that the hub did not know is computed. */
export async function describeComplete(
  { reference, variant }: { reference: string; variant: string },
  files: readonly PlacedFile[],
): Promise<CompleteModel> {
  const described: ModelFile[] = [];
  for (const { name, target, sizeBytes, digest } of files) {
    described.push({ name, size_bytes: sizeBytes, digest: digest ?? (await digestOfFile(target)) });
  }
  return { reference, variant, path: files[0]?.target ?? '', files: described };
}
