import type { MemoryProfile } from '../src/gguf/memory-profile.js';

const MB = 1024 * 1024;

/** A model of 100 MB: each token costs 64 KiB of each slot's cache. */
export function smallModel(changes: Partial<MemoryProfile> = {}): MemoryProfile {
  return {
    spanBytes: 100 * MB,
    mappedBytes: { x64: 100 * MB, arm64: 100 * MB },
    repackedBytes: { x64: 0, arm64: 0 },
    tiedRepackedBytes: { x64: 0, arm64: 0 },
    tokenEmbeddingBytes: 10 * MB,
    hasOutput: true,
    architecture: 'llama',
    contextLength: 8192,
    vocabularySize: 2048,
    embeddingLength: 512,
    feedForwardLength: 1024,
    headCount: 8,
    queryWidth: 512,
    attention: [{ layers: 16, keyWidth: 1024, valueWidth: 1024, window: null }],
    recurrentElements: 0,
    ...changes,
  };
}
