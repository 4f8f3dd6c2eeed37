/** A metadata value with its GGUF type; arrays hold values of one type. */
export type SyntheticValue =
  | { type: 'u32' | 'u64' | 'i32' | 'f32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: string[] }
  | { type: 'u32s'; value: number[] };

export interface SyntheticGguf {
  version?: number;
  metadata?: Record<string, SyntheticValue>;
  /** F32 tensors by name: number of elements. */
  tensors?: Record<string, number>;
  alignment?: number;
}

/** The bytes of a small GGUF file, laid out as the format's specification says; tensor data is zero. */
export function makeGguf({ version = 3, metadata = {}, tensors = {}, alignment = 32 }: SyntheticGguf): Buffer {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(version)];
  parts.push(u64(Object.keys(tensors).length), u64(Object.keys(metadata).length));
  for (const [key, value] of Object.entries(metadata)) parts.push(text(key), encode(value));
  let offset = 0;
  for (const [name, elements] of Object.entries(tensors)) {
    parts.push(text(name), u32(1), u64(elements), u32(0), u64(offset));
    offset = Math.ceil((offset + elements * 4) / alignment) * alignment;
  }
  const header = Buffer.concat(parts);
  const last = Object.values(tensors).at(-1) ?? 0;
  const dataBytes = offset === 0 ? 0 : offset - (Math.ceil((last * 4) / alignment) * alignment - last * 4);
  const padding = offset === 0 ? 0 : Math.ceil(header.length / alignment) * alignment - header.length;
  return Buffer.concat([header, Buffer.alloc(padding + dataBytes)]);
}

/** Metadata of a tiny model with every fact that is read. */
export function tinyModelMetadata(): Record<string, SyntheticValue> {
  return {
    'general.architecture': { type: 'string', value: 'llama' },
    'general.name': { type: 'string', value: 'Tiny' },
    'general.file_type': { type: 'u32', value: 15 },
    'llama.block_count': { type: 'u32', value: 4 },
    'llama.context_length': { type: 'u64', value: 2048 },
    'llama.embedding_length': { type: 'u32', value: 64 },
    'llama.attention.head_count': { type: 'u32s', value: [8, 4, 8, 4] },
    'llama.attention.head_count_kv': { type: 'u32', value: 2 },
    'llama.rope.freq_base': { type: 'f32', value: 10000 },
    'tokenizer.ggml.tokens': { type: 'strings', value: ['<unk>', '<s>', '</s>', 'a', 'é'] },
    'tokenizer.ggml.eos_token_id': { type: 'u32', value: 2 },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': { type: 'string', value: '{{ messages }}' },
  };
}

function encode(value: SyntheticValue): Buffer {
  switch (value.type) {
    case 'u32':
      return Buffer.concat([u32(4), u32(value.value)]);
    case 'i32': {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(value.value);
      return Buffer.concat([u32(5), bytes]);
    }
    case 'f32': {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value.value);
      return Buffer.concat([u32(6), bytes]);
    }
    case 'bool':
      return Buffer.concat([u32(7), Buffer.from([value.value ? 1 : 0])]);
    case 'string':
      return Buffer.concat([u32(8), text(value.value)]);
    case 'u64':
      return Buffer.concat([u32(10), u64(value.value)]);
    case 'strings':
      return Buffer.concat([u32(9), u32(8), u64(value.value.length), ...value.value.map(text)]);
    case 'u32s':
      return Buffer.concat([u32(9), u32(4), u64(value.value.length), ...value.value.map(u32)]);
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}
