import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { unsupportedModelFile } from './gguf-errors.js';
import { type GgufFacts, readGgufFacts, readPart } from './gguf-facts.js';
import { addParts } from './memory-profile.js';
import { padded, partsOf, readPartName } from './part-name.js';
import type { TensorSums } from './tensor-tally.js';

/** A model as it lies on disk: its first file and the size of all its parts. */
export interface ModelFiles {
  path: string;
  sizeBytes: number;
  /** Those of the first file; `memory` is of all parts together. */
  facts: GgufFacts;
}

/**
 * Reads the facts of a model file and sums the sizes of all parts of a split model. Every part is checked like the
 * first one. Throws UNSUPPORTED_MODEL_FORMAT; file system errors of the first file pass through.
 */
export async function inspectModelFiles(first: string): Promise<ModelFiles> {
  const facts = await readGgufFacts(first);
  let sizeBytes = facts.fileSizeBytes;
  const others: TensorSums[] = [];
  for (const path of otherParts(first, facts.splitCount)) {
    await requirePart(path);
    const part = await readPart(path);
    sizeBytes += part.sizeBytes;
    others.push(part.tensors);
  }
  const memory = facts.memory && addParts(facts.memory, others);
  return { path: first, sizeBytes, facts: { ...facts, memory } };
}

/** Paths of the parts beside the first one of a split model; empty for an ordinary file. */
function otherParts(path: string, splitCount: number): string[] {
  if (splitCount <= 1) return [];
  const name = basename(path);
  const read = readPartName(name);
  if (read?.parts !== splitCount || read.part !== 1) {
    throw unsupportedModelFile(
      'missing_part',
      `${name} is part of a model of ${splitCount} files; the first must be named NAME-00001-of-${padded(splitCount)}.gguf`,
    );
  }
  return partsOf(path, splitCount).slice(1);
}

async function requirePart(path: string): Promise<void> {
  const found = await stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
  if (!found) throw unsupportedModelFile('missing_part', `the model is incomplete: ${basename(path)} is missing`);
}
