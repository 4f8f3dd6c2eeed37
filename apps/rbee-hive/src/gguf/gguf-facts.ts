import { open } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { ByteWindow } from './byte-window.js';
import { corruptModelFile, truncatedModelFile, unsupportedModelFile } from './gguf-errors.js';
import { countOf, LayerFigures } from './layer-figures.js';
import { type MemoryProfile, toMemoryProfile } from './memory-profile.js';
import { type GgufHeader, readHeader } from './read-header.js';
import type { TensorSums } from './tensor-tally.js';
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
  /** What decides the memory of the model; of a split one, without the tensors of its other parts. */
  memory: MemoryProfile | null;
}

const CHAT_TEMPLATE = 'tokenizer.chat_template';
const ARCHITECTURE_SUFFIXES = [
  '.block_count',
  '.context_length',
  '.embedding_length',
  '.vocab_size',
  '.feed_forward_length',
  '.expert_feed_forward_length',
  '.expert_used_count',
  '.nextn_predict_layers',
  '.full_attention_interval',
  '.token_shift_count',
  '.shortconv.l_cache',
  '.wkv.head_size',
  '.ssm.conv_kernel',
  '.ssm.group_count',
  '.ssm.inner_size',
  '.ssm.state_size',
  ...['head_count', 'head_count_kv', 'shared_kv_layers', 'sliding_window', 'sliding_window_pattern'].map(inAttention),
  ...['key_length', 'key_length_mla', 'key_length_swa'].map(inAttention),
  ...['value_length', 'value_length_mla', 'value_length_swa'].map(inAttention),
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

/** Size in bytes of a GGUF file that is as long as its tensors need, and those; a later part of a split model has no other facts. */
export async function readPart(path: string): Promise<{ sizeBytes: number; tensors: TensorSums }> {
  const { size, header } = await readIntactHeader(path);
  return { sizeBytes: size, tensors: header.tensors };
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

function inAttention(name: string): string {
  return `.attention.${name}`;
}

function toFacts(header: GgufHeader, fileSizeBytes: number, name: string): GgufFacts {
  const { version, metadata, tensorCount, tensors } = header;
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string' || !/^[\w.-]{1,64}$/.test(architecture)) {
    throw corruptModelFile(name, 'no usable general.architecture');
  }
  const figures = new LayerFigures(architecture, metadata);
  const fileType = countOf(metadata.get('general.file_type'));
  return {
    version,
    architecture,
    quantization: fileType === null ? null : quantizationName(fileType),
    layerCount: figures.layerCount,
    contextLength: figures.largest('.context_length'),
    embeddingLength: figures.embeddingLength,
    headCount: figures.largest('.attention.head_count'),
    headCountKv: figures.largest('.attention.head_count_kv'),
    vocabSize: figures.vocabularySize,
    eosTokenId: countOf(metadata.get('tokenizer.ggml.eos_token_id')),
    hasChatTemplate: metadata.has(CHAT_TEMPLATE),
    tensorCount,
    splitCount: countOf(metadata.get('split.count')) || 1,
    fileSizeBytes,
    memory: toMemoryProfile(figures, tensors),
  };
}
