import { basename } from 'node:path';
import { formatModelRef, type ModelVariant } from '@rbee/protocol';
import { defaultVariant, groupVariants, type HubRef } from '../hub/choose-variant.js';
import type { HubFile } from '../hub/hub.js';

/** What the files of a repository have to choose from; `isPresent` tells which of it is on this machine. */
export function describeVariants(
  { provider, reference }: HubRef,
  listed: readonly HubFile[],
  isPresent: (ref: HubRef) => Promise<boolean>,
): Promise<ModelVariant[]> {
  const variants = groupVariants(listed);
  const usual = defaultVariant(variants);
  const described = variants.map(async (known) => {
    const { variant, files, sizeBytes } = known;
    const ref = { provider, reference, variant };
    return {
      variant,
      model_ref: formatModelRef(ref),
      files: files.map((file) => ({ name: basename(file.path), size_bytes: file.sizeBytes, digest: file.digest })),
      size_bytes: sizeBytes,
      default: known === usual,
      present: await isPresent(ref),
    };
  });
  return Promise.all(described);
}
