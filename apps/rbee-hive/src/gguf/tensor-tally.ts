import { isRepacked, type ProcessorFamily, type TensorShape } from './repacking.js';

type BytesByProcessor = Record<ProcessorFamily, number>;

/** What all tensors of one file amount to. Bytes. */
export interface TensorSums {
  /** From the beginning of the first tensor to the end of the last one. */
  spanBytes: number;
  /** The same of those alone that the CPU backend uses as they lie in the file. */
  mappedBytes: BytesByProcessor;
  /** Tensors that the CPU backend keeps in a layout of its own. */
  repackedBytes: BytesByProcessor;
  /** What the token embeddings add to that in a model whose output has no matrix of its own. */
  tiedRepackedBytes: BytesByProcessor;
  tokenEmbeddingBytes: number;
  /** Whether the output has a matrix of its own; without one the engine multiplies with the token embeddings. */
  hasOutput: boolean;
}

const TOKEN_EMBEDDING = 'token_embd.weight';
const OUTPUT = 'output.weight';
const FAMILIES = ['x64', 'arm64'] as const;

/** Adds tensors up while a header is read, so that no list of them has to be kept. */
export class TensorTally {
  private readonly span = new Span();
  private readonly mapped = { x64: new Span(), arm64: new Span() };
  private readonly repacked = { x64: 0, arm64: 0 };
  private readonly tiedRepacked = { x64: 0, arm64: 0 };
  private tokenEmbedding = 0;
  private hasOutput = false;

  add(tensor: TensorShape, offset: number, bytes: number): void {
    this.span.add(offset, bytes);
    for (const family of FAMILIES) {
      if (isRepacked(tensor, family)) this.repacked[family] += bytes;
      else this.mapped[family].add(offset, bytes);
    }
    if (tensor.name === OUTPUT) this.hasOutput = true;
    if (tensor.name !== TOKEN_EMBEDDING) return;
    this.tokenEmbedding = bytes;
    for (const family of FAMILIES) {
      if (isRepacked({ ...tensor, name: OUTPUT }, family)) this.tiedRepacked[family] += bytes;
    }
  }

  /** End of the last tensor, relative to the beginning of the tensor data. */
  get end(): number {
    return this.span.last;
  }

  get sums(): TensorSums {
    return {
      spanBytes: this.span.bytes,
      mappedBytes: { x64: this.mapped.x64.bytes, arm64: this.mapped.arm64.bytes },
      repackedBytes: this.repacked,
      tiedRepackedBytes: this.tiedRepacked,
      tokenEmbeddingBytes: this.tokenEmbedding,
      hasOutput: this.hasOutput,
    };
  }
}

/** What two files amount to together. */
export function addSums(a: TensorSums, b: TensorSums): TensorSums {
  const both = (name: 'mappedBytes' | 'repackedBytes' | 'tiedRepackedBytes') => {
    return { x64: a[name].x64 + b[name].x64, arm64: a[name].arm64 + b[name].arm64 };
  };
  return {
    spanBytes: a.spanBytes + b.spanBytes,
    mappedBytes: both('mappedBytes'),
    repackedBytes: both('repackedBytes'),
    tiedRepackedBytes: both('tiedRepackedBytes'),
    tokenEmbeddingBytes: a.tokenEmbeddingBytes + b.tokenEmbeddingBytes,
    hasOutput: a.hasOutput || b.hasOutput,
  };
}

class Span {
  first = Number.POSITIVE_INFINITY;
  last = 0;

  get bytes(): number {
    return Math.max(0, this.last - this.first);
  }

  add(offset: number, bytes: number): void {
    this.first = Math.min(this.first, offset);
    this.last = Math.max(this.last, offset + bytes);
  }
}
