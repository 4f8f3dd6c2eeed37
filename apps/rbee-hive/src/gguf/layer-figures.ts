import type { MetadataValue } from './metadata-values.js';

/** The figures of a model's header under the name of its architecture, one for all layers or one for each. */
export class LayerFigures {
  readonly layerCount: number | null;
  readonly embeddingLength: number | null;
  readonly vocabularySize: number | null;

  constructor(
    readonly architecture: string,
    private readonly metadata: ReadonlyMap<string, MetadataValue>,
  ) {
    const tokens = metadata.get('tokenizer.ggml.tokens');
    this.layerCount = this.largest('.block_count');
    this.embeddingLength = this.largest('.embedding_length');
    this.vocabularySize = typeof tokens === 'object' ? tokens.length : this.largest('.vocab_size');
  }

  /** A non-negative integer; of figures per layer the largest, which is what memory has to be sized for. */
  largest(suffix: string): number | null {
    return countOf(this.value(suffix));
  }

  /** The figure of one layer. */
  at(suffix: string, layer: number): number | null {
    const value = this.value(suffix);
    if (typeof value !== 'object') return countOf(value);
    return countOf(value.numbers?.[layer]);
  }

  /** One figure per layer as the file lists them, or null when it has one for all, or none. */
  list(suffix: string): readonly number[] | null {
    const value = this.value(suffix);
    return typeof value === 'object' ? value.numbers : null;
  }

  private value(suffix: string): MetadataValue | undefined {
    return this.metadata.get(`${this.architecture}${suffix}`);
  }
}

export function countOf(value: MetadataValue | undefined): number | null {
  if (typeof value === 'object') {
    const usable = value.numbers?.filter(isCount) ?? [];
    return usable.length === 0 ? null : Math.max(...usable);
  }
  return typeof value === 'number' && isCount(value) ? value : null;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
