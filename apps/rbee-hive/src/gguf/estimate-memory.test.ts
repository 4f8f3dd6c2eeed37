import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { countParameters, splitModel, writeShapedModel } from '@rbee/fixtures';
import type { MemoryFigures } from '@rbee/protocol';
import { type LoadedModel, measureMemory } from '../../test/measured-memory.js';
import { smallModel } from '../../test/small-model.js';
import { estimateMemory, USUAL_SLOTS, usualContextSize } from './estimate-memory.js';
import type { MemoryProfile } from './memory-profile.js';
import { inspectModelFiles } from './model-files.js';

const HONEYCOMB = ['q4_k_m', 'q5_k_m', 'q8_0'].map((variant) =>
  fileURLToPath(new URL(`../../../../models/honeycomb-${variant}.gguf`, import.meta.url)),
);
/** A model of more than a hundred million weights. */
const HUNDRED_MILLION = {
  layers: 12,
  embedding: 768,
  heads: 12,
  kvHeads: 4,
  feedForward: 2048,
  vocabulary: 16_384,
  contextLength: 8192,
  type: 'Q8_0',
} as const;
const TOLERANCE = 0.1;
const MIB = 1024 * 1024;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-memory-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function readProfile(path: string): Promise<MemoryProfile> {
  const { memory } = (await inspectModelFiles(path)).facts;
  if (memory === null) throw new Error(`${path} has no profile`);
  return memory;
}

/** The worst of weights, caches and buffers: 0.04 is 4 % too much or too little. */
function deviation(estimated: MemoryFigures, used: MemoryFigures): number {
  const parts = ['weights_bytes', 'kv_cache_bytes', 'compute_bytes'] as const;
  return Math.max(...parts.map((part) => Math.abs(estimated[part] / used[part] - 1)));
}

function at(modelPath: string, ...sizes: [contextSize: number, slots: number][]): LoadedModel[] {
  return sizes.map(([contextSize, slots]) => ({ modelPath, contextSize, slots }));
}

describe('the estimate and what the engine reports', () => {
  it('agree within 10 % in each part, for small and large contexts', async () => {
    const made = join(folder, 'made.gguf');
    writeShapedModel(made, HUNDRED_MILLION);
    expect(countParameters(HUNDRED_MILLION)).toBeGreaterThan(100e6);
    const tied = join(folder, 'tied.gguf');
    writeShapedModel(tied, { ...HUNDRED_MILLION, type: 'Q4_0', ownOutput: false });
    const [firstPart] = splitModel(made, 3, folder);
    const models: LoadedModel[] = [
      ...HONEYCOMB.flatMap((path) => at(path, [512, 1], [1024, 4], [1000, 8])),
      ...at(made, [256, 1], [512, 1], [1024, 4], [8192, 8]),
      { modelPath: made, slots: USUAL_SLOTS },
      ...at(tied, [1000, 3]),
      ...at(firstPart as string, [512, 2]),
    ];
    const used = await measureMemory(models);
    const off = await Promise.all(
      models.map(async ({ modelPath, contextSize, slots }, index) => {
        const measured = used[index];
        // Where none is named, the worker takes by itself what the hive expects.
        expect(measured).toMatchObject({ context_size: contextSize ?? 4096, slots });
        const estimated = estimateMemory(await readProfile(modelPath), { contextSize, slots });
        return { modelPath, contextSize, slots, off: deviation(estimated, measured as MemoryFigures) };
      }),
    );
    expect(off.filter(({ off }) => off > TOLERANCE)).toEqual([]);
  }, 60_000);
});

describe('estimateMemory', () => {
  const profile = smallModel();

  it('says what it was asked for, and sums up', () => {
    const figures = estimateMemory(profile, { contextSize: 1000, slots: 2 });
    const { weights_bytes, kv_cache_bytes, compute_bytes } = figures;
    expect(figures).toMatchObject({ context_size: 1000, slots: 2, weights_bytes: 100 * MIB });
    expect(figures.total_bytes).toBe(weights_bytes + kv_cache_bytes + compute_bytes);
  });

  it.each([
    [256, 1, 256],
    [257, 1, 512],
    [1000, 2, 2048],
    [300, 3, 3 * 512],
    [8, 1, 256],
  ])('rounds the cells of %i tokens in %i slots up to %i', (contextSize, slots, cells) => {
    expect(estimateMemory(profile, { contextSize, slots }).kv_cache_bytes).toBe(cells * 64 * 1024);
  });

  it('keeps of layers with a window no more than the window and one step', () => {
    const layer = { layers: 1, keyWidth: 512, valueWidth: 512 };
    const sliding = smallModel({
      attention: [
        { ...layer, window: null },
        { ...layer, window: 1024 },
      ],
    });
    // 1024 of the window, 512 of a step, one more, rounded up.
    expect(estimateMemory(sliding, { contextSize: 8192, slots: 1 }).kv_cache_bytes).toBe((8192 + 1792) * 2048);
    expect(estimateMemory(sliding, { contextSize: 1024, slots: 1 }).kv_cache_bytes).toBe(2 * 1024 * 2048);
  });

  it('has a state of fixed size for each slot of a recurrent model', () => {
    const recurrent = smallModel({ attention: [], recurrentElements: 1000 });
    const cache = (contextSize: number) => estimateMemory(recurrent, { contextSize, slots: 3 }).kv_cache_bytes;
    expect([cache(512), cache(8192)]).toEqual([12_000, 12_000]);
  });

  it('adds what the processor keeps in a layout of its own, and nothing of that on a GPU', () => {
    const model = smallModel({
      mappedBytes: { x64: 60 * MIB, arm64: 40 * MIB },
      repackedBytes: { x64: 45 * MIB, arm64: 60 * MIB },
      tiedRepackedBytes: { x64: 0, arm64: 10 * MIB },
      hasOutput: false,
    });
    const weights = (request: Parameters<typeof estimateMemory>[1]) =>
      estimateMemory(model, request).weights_bytes / MIB;
    expect(weights({ processor: 'x64' })).toBe(105);
    expect(weights({ processor: 'arm64' })).toBe(110);
    expect(weights({ backend: 'cuda' })).toBe(110); // the token embeddings stay with the host, and are the output too
  });

  it('has no matrix of all scores on a GPU', () => {
    // It would be 128 MiB: 8192 cells, 512 tokens, 8 heads.
    const compute = (backend: 'cpu' | 'cuda') => estimateMemory(profile, { contextSize: 8192, backend }).compute_bytes;
    expect(compute('cpu') - compute('cuda')).toBeGreaterThan(100 * MIB);
  });

  it('takes what the worker takes by itself when it is not told', () => {
    expect(estimateMemory(profile)).toEqual(estimateMemory(profile, { contextSize: 4096, slots: 4, backend: 'cpu' }));
    expect([usualContextSize(1024), usualContextSize(131_072), usualContextSize(null)]).toEqual([1024, 4096, 4096]);
  });
});
