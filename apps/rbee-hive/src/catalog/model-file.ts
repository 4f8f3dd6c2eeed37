import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { inspectModelFiles } from '../gguf/model-files.js';
import type { ModelRow } from './schema.js';

/** A larger file takes seconds and more to read: its digest stays unknown until somebody needs it. */
const MAX_DIGEST_BYTES = 64 * 1024 * 1024;
const DIGEST_BLOCK_BYTES = 256 * 1024;

type FileColumns = Omit<
  ModelRow,
  'id' | 'provider' | 'reference' | 'variant' | 'downloaded_at_unix' | 'last_used_unix'
>;

/** What the catalog keeps of a model file. Throws UNSUPPORTED_MODEL_FORMAT; file system errors pass. */
export async function describeModelFile(path: string): Promise<FileColumns> {
  const { facts, sizeBytes } = await inspectModelFiles(path);
  return {
    local_path: path,
    size_bytes: sizeBytes,
    digest: facts.splitCount === 1 && sizeBytes <= MAX_DIGEST_BYTES ? await digestOf(path) : null,
    architecture: facts.architecture,
    layers: facts.layerCount,
    context_length: facts.contextLength,
    vocab_size: facts.vocabSize,
    eos_token_id: facts.eosTokenId,
    quantization: facts.quantization,
    has_chat_template: facts.hasChatTemplate ? 1 : 0,
  };
}

/** Catalog id of a file: its name, followed by the quantization where the name doesn't say it. */
export function slugOf(path: string, quantization: string | null): string {
  const clean = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^a-z0-9_]+/g, '-')
      .replace(/^-+|-+$/g, '');
  const name = clean(basename(path).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '')) || 'model';
  const suffix = clean(quantization ?? '');
  return suffix === '' || name.includes(suffix) ? name : `${name}-${suffix}`;
}

/** Read through one buffer: the garbage of a stream would stay with the hive as resident memory. */
async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafe(DIGEST_BLOCK_BYTES);
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(block, 0, block.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(block.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
