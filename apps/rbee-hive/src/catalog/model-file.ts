import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Model, ModelFile } from '@rbee/protocol';
import { inspectModelFiles } from '../gguf/model-files.js';
import { partsOf } from '../gguf/part-name.js';
import { digestOfFile, digestOfModel } from './digest.js';
import type { ModelRow } from './schema.js';

/** A larger file takes seconds and more to read: its digest stays unknown until somebody needs it. */
const MAX_DIGEST_BYTES = 64 * 1024 * 1024;
/** Ids travel in paths of URLs. */
const MAX_NAME_CHARS = 150;

/** What the catalog keeps of the files of a model, whatever it is called. */
export type FileColumns = Omit<
  ModelRow,
  'id' | 'provider' | 'reference' | 'variant' | 'downloaded_at_unix' | 'last_used_unix' | 'memory_used'
> & {
  /** In the order of their parts. */
  files: ModelFile[];
};

export interface DescribeOptions {
  /** Which digests are computed; `small`: those of models that are read in a moment. Default `small`. */
  digests?: 'all' | 'small';
  /** Files whose digests are known; one that still has its name and size is not read again. */
  known?: readonly ModelFile[] | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * What the catalog keeps of a model file and the other parts of its model. Throws UNSUPPORTED_MODEL_FORMAT or the
 * signal's reason; file system errors pass.
 */
export async function describeModelFile(
  path: string,
  { digests = 'small', known = [], signal }: DescribeOptions = {},
): Promise<FileColumns> {
  const { facts, sizeBytes } = await inspectModelFiles(path);
  const withDigests = digests === 'all' || sizeBytes <= MAX_DIGEST_BYTES;
  const files: ModelFile[] = [];
  for (const part of partsOf(path, facts.splitCount)) {
    const name = basename(part);
    const { size } = await stat(part);
    const before = known.find((file) => file.name === name && file.size_bytes === size)?.digest;
    const digest = before ?? (withDigests ? await digestOfFile(part, signal) : undefined);
    files.push({ name, size_bytes: size, digest });
  }
  return {
    local_path: path,
    size_bytes: sizeBytes,
    digest: digestOfModel(files),
    architecture: facts.architecture,
    layers: facts.layerCount,
    context_length: facts.contextLength,
    vocab_size: facts.vocabSize,
    eos_token_id: facts.eosTokenId,
    quantization: facts.quantization,
    has_chat_template: facts.hasChatTemplate ? 1 : 0,
    memory_profile: facts.memory === null ? null : JSON.stringify(facts.memory),
    files,
  };
}

/** Paths of the files of a model, in the order of their parts. */
export function pathsOf({ local_path, files }: Pick<Model, 'local_path' | 'files'>): string[] {
  if (files === undefined) return [local_path];
  return files.map(({ name }) => join(dirname(local_path), name));
}

/** Catalog id of a file: its name, followed by the quantization where the name doesn't say it. */
export function slugOf(path: string, quantization: string | null): string {
  const clean = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^a-z0-9_]+/g, '-')
      .replace(/^-+|-+$/g, '');
  const name = clean(basename(path).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '')).slice(0, MAX_NAME_CHARS) || 'model';
  const suffix = clean(quantization ?? '');
  return suffix === '' || name.includes(suffix) ? name : `${name}-${suffix}`;
}
