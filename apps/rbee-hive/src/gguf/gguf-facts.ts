import { open } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { ByteWindow } from './byte-window.js';
import { corruptModelFile, truncatedModelFile, unsupportedModelFile } from './gguf-errors.js';
import type { MetadataValue } from './metadata-values.js';
import { type GgufHeader, readHeader } from './read-header.js';
import { quantizationName } from './tensor-types.js';

/** What a model file says about itself. A figure the file leaves out is null. */
export interface GgufFacts {
  version: number;
  architecture: string;
  quantization: string | null;
  layerCount: number | null;
  contextLength: number | null;
  embeddingLength: number | null;
  headCount: number | null;
  headCountKv: number | null;
  vocabSize: number | null;
  eosTokenId: number | null;
  hasChatTemplate: boolean;
  tensorCount: number;
  /** Parts of a split model, this file among them; 1 for an ordinary file. */
  splitCount: number;
  fileSizeBytes: number;
}

const CHAT_TEMPLATE = 'tokenizer.chat_template';
const ARCHITECTURE_SUFFIXES = [
  '.block_count',
  '.context_length',
  '.embedding_length',
  '.attention.head_count',
  '.attention.head_count_kv',
  '.vocab_size',
];
const FIXED_KEYS = new Set([
  'general.architecture',
  'general.file_type',
  'general.alignment',
  'split.count',
  'tokenizer.ggml.tokens',
  'tokenizer.ggml.eos_token_id',
  CHAT_TEMPLATE,
]);

/**
 * Reads the header of a GGUF file (versions 2 and 3), holding 64 KiB of it at a time, and checks that the file is as
 * long as its tensors. Throws UNSUPPORTED_MODEL_FORMAT with `details.reason`; file system errors pass through.
 */
export async function readGgufFacts(path: string): Promise<GgufFacts> {
  const { header, size } = await readIntactHeader(path);
  return toFacts(header, size, basename(path));
}

/** Size in bytes of a GGUF file that is as long as its tensors need; a later part of a split model has no other facts. */
export async function readIntactSize(path: string): Promise<number> {
  return (await readIntactHeader(path)).size;
}

async function readIntactHeader(path: string): Promise<{ header: GgufHeader; size: number }> {
  const name = basename(path);
  if (extname(path).toLowerCase() !== '.gguf') {
    throw unsupportedModelFile('extension', `${name} does not end in .gguf`);
  }
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const header = await readHeader(new ByteWindow(file, name, size), name, isWanted);
    if (header.dataEnd > size) throw truncatedModelFile(name, header.dataEnd, size);
    return { header, size };
  } finally {
    await file.close();
  }
}

function isWanted(key: string): boolean {
  return FIXED_KEYS.has(key) || ARCHITECTURE_SUFFIXES.some((suffix) => key.endsWith(suffix));
}

function toFacts({ version, metadata, tensorCount }: GgufHeader, fileSizeBytes: number, name: string): GgufFacts {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string' || !/^[\w.-]{1,64}$/.test(architecture)) {
    throw corruptModelFile(name, 'no usable general.architecture');
  }
  const of = (suffix: string) => countOf(metadata.get(`${architecture}${suffix}`));
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const fileType = countOf(metadata.get('general.file_type'));
  return {
    version,
    architecture,
    quantization: fileType === null ? null : quantizationName(fileType),
    layerCount: of('.block_count'),
    contextLength: of('.context_length'),
    embeddingLength: of('.embedding_length'),
    headCount: of('.attention.head_count'),
    headCountKv: of('.attention.head_count_kv'),
    vocabSize: typeof tokens === 'object' ? tokens.length : of('.vocab_size'),
    eosTokenId: countOf(metadata.get('tokenizer.ggml.eos_token_id')),
    hasChatTemplate: metadata.has(CHAT_TEMPLATE),
    tensorCount,
    splitCount: countOf(metadata.get('split.count')) || 1,
    fileSizeBytes,
  };
}

/** A non-negative integer; of per-layer figures the largest, which is what memory has to be sized for. */
function countOf(value: MetadataValue | undefined): number | null {
  if (typeof value === 'object') {
    const usable = value.numbers?.filter((number) => Number.isSafeInteger(number) && number >= 0) ?? [];
    return usable.length === 0 ? null : Math.max(...usable);
  }
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
