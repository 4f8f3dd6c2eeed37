import { truncateSync, writeFileSync } from 'node:fs';

const STRING = 8;
const ARRAY = 9;
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const ALIGNMENT = 32;
const EMBEDDING = 32;

/** Id of the only word that the model says: `done`. */
const WORD_ID = 300;

export interface MadeModelOptions {
  readonly vocabulary?: number;
  readonly eosTokenId?: number;
  /** `general.file_type`: 15 is Q4_K_M. The weights are F32 whatever this says. */
  readonly fileType?: number;
  readonly contextLength?: number;
  /** Say the word again and again instead of ending after it. */
  readonly endless?: boolean;
}

/**
 * Writes a GGUF model that is made by hand: after any text it says ` done`, and after that its end-of-sequence token.
 * Embeddings are unit vectors, attention and feed-forward add nothing, and the output rows pick the next token.
 */
export function writeMadeModel(path: string, options: MadeModelOptions = {}): void {
  const { vocabulary = 32_000, eosTokenId = 2, fileType = 15, contextLength = 256, endless = false } = options;
  const embeddings = new Float32Array(vocabulary * EMBEDDING);
  for (let token = 0; token < vocabulary; token++) embeddings[token * EMBEDDING + (token === WORD_ID ? 1 : 0)] = 1;
  const output = new Float32Array(vocabulary * EMBEDDING);
  output[WORD_ID * EMBEDDING] = 1;
  output[(endless ? WORD_ID : eosTokenId) * EMBEDDING + 1] = 1;
  const square = new Float32Array(EMBEDDING * EMBEDDING);
  const ones = new Float32Array(EMBEDDING).fill(1);
  const tensors: [name: string, dimensions: number[], data: Float32Array][] = [
    ['token_embd.weight', [EMBEDDING, vocabulary], embeddings],
    ['blk.0.attn_norm.weight', [EMBEDDING], ones],
    ['blk.0.attn_q.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.attn_k.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.attn_v.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.attn_output.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.ffn_norm.weight', [EMBEDDING], ones],
    ['blk.0.ffn_gate.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.ffn_up.weight', [EMBEDDING, EMBEDDING], square],
    ['blk.0.ffn_down.weight', [EMBEDDING, EMBEDDING], square],
    ['output_norm.weight', [EMBEDDING], ones],
    ['output.weight', [EMBEDDING, vocabulary], output],
  ];
  const metadata: Buffer[] = [
    field('general.architecture', text('llama')),
    field('general.file_type', uint32(fileType)),
    field('llama.context_length', uint32(contextLength)),
    field('llama.embedding_length', uint32(EMBEDDING)),
    field('llama.block_count', uint32(1)),
    field('llama.feed_forward_length', uint32(EMBEDDING)),
    field('llama.attention.head_count', uint32(1)),
    field('llama.attention.head_count_kv', uint32(1)),
    field('llama.rope.dimension_count', uint32(EMBEDDING)),
    field('llama.attention.layer_norm_rms_epsilon', float32(1e-5)),
    field('tokenizer.ggml.model', text('llama')),
    field('tokenizer.ggml.tokens', array(STRING, tokenTexts(vocabulary).map(rawText))),
    field(
      'tokenizer.ggml.scores',
      array(
        FLOAT32,
        range(vocabulary, (id) => raw('float', -id)),
      ),
    ),
    field(
      'tokenizer.ggml.token_type',
      array(
        INT32,
        range(vocabulary, (id) => raw('int', tokenType(id))),
      ),
    ),
    field('tokenizer.ggml.bos_token_id', uint32(1)),
    field('tokenizer.ggml.eos_token_id', uint32(eosTokenId)),
    field('tokenizer.ggml.unknown_token_id', uint32(0)),
  ];
  let offset = 0;
  const infos = tensors.map(([name, dimensions, data]) => {
    const info = Buffer.concat([
      rawText(name),
      raw('int', dimensions.length),
      ...dimensions.map((size) => raw('long', size)),
      raw('int', 0),
      raw('long', offset),
    ]);
    offset += align(data.byteLength);
    return info;
  });
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    raw('int', 3),
    raw('long', tensors.length),
    raw('long', metadata.length),
    ...metadata,
    ...infos,
  ]);
  const body = tensors.map(([, , data]) => padded(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
  writeFileSync(path, Buffer.concat([padded(head), ...body]));
}

/** Makes a file look larger than it is, without taking the space. */
export function growTo(path: string, megabytes: number): void {
  truncateSync(path, megabytes * 2 ** 20);
}

function tokenTexts(vocabulary: number): string[] {
  return range(vocabulary, (id) => {
    if (id < 3) return ['<unk>', '<s>', '</s>'][id] ?? '';
    if (id < 259) return `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`;
    return id === WORD_ID ? '▁done' : `▁filler${id}`;
  });
}

function tokenType(id: number): number {
  if (id === 0) return 2;
  if (id < 3) return 3;
  return id < 259 ? 6 : 1;
}

function range<T>(length: number, make: (index: number) => T): T[] {
  return Array.from({ length }, (_, index) => make(index));
}

function raw(kind: 'int' | 'long' | 'float', value: number): Buffer {
  const buffer = Buffer.alloc(kind === 'long' ? 8 : 4);
  if (kind === 'long') buffer.writeBigUInt64LE(BigInt(value));
  else if (kind === 'int') buffer.writeInt32LE(value);
  else buffer.writeFloatLE(value);
  return buffer;
}

function rawText(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([raw('long', bytes.length), bytes]);
}

function field(name: string, value: Buffer): Buffer {
  return Buffer.concat([rawText(name), value]);
}

function text(value: string): Buffer {
  return Buffer.concat([raw('int', STRING), rawText(value)]);
}

function uint32(value: number): Buffer {
  return Buffer.concat([raw('int', UINT32), raw('int', value)]);
}

function float32(value: number): Buffer {
  return Buffer.concat([raw('int', FLOAT32), raw('float', value)]);
}

function array(type: number, items: Buffer[]): Buffer {
  return Buffer.concat([raw('int', ARRAY), raw('int', type), raw('long', items.length), ...items]);
}

function align(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function padded(buffer: Buffer): Buffer {
  return Buffer.concat([buffer, Buffer.alloc(align(buffer.length) - buffer.length)]);
}
