import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { readGgufFacts } from './gguf-facts.js';
import { inspectModelFiles } from './model-files.js';

const MODELS = fileURLToPath(new URL('../../../../models/', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-gguf-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function write(bytes: Buffer, name = 'model.gguf'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

describe('readGgufFacts', () => {
  it.each([
    ['honeycomb-q4_k_m.gguf', 'Q4_K_M', 3_280_800],
    ['honeycomb-q5_k_m.gguf', 'Q5_K_M', 3_813_280],
    ['honeycomb-q8_0.gguf', 'Q8_0', 5_648_800],
  ])('reads the bundled %s', async (file, quantization, fileSizeBytes) => {
    await expect(readGgufFacts(join(MODELS, file))).resolves.toMatchObject({
      version: 3,
      architecture: 'llama',
      quantization,
      layerCount: 6,
      contextLength: 1024,
      embeddingLength: 256,
      headCount: 8,
      headCountKv: 4,
      vocabSize: 2048,
      eosTokenId: 2047,
      hasChatTemplate: true,
      splitCount: 1,
      fileSizeBytes,
    });
  });

  it.each([2, 3])('reads every fact of a version %i file', async (version) => {
    const path = await write(makeGguf({ version, metadata: tinyModelMetadata(), tensors: { a: 100, b: 7 } }));
    await expect(readGgufFacts(path)).resolves.toMatchObject({
      version,
      architecture: 'llama',
      quantization: 'Q4_K_M',
      layerCount: 4,
      contextLength: 2048,
      embeddingLength: 64,
      headCount: 8,
      headCountKv: 2,
      vocabSize: 5,
      eosTokenId: 2,
      hasChatTemplate: true,
      tensorCount: 2,
    });
  });

  it('reads what decides the memory of a model', async () => {
    await expect(readGgufFacts(join(MODELS, 'honeycomb-q4_k_m.gguf'))).resolves.toMatchObject({
      memory: {
        architecture: 'llama',
        contextLength: 1024,
        vocabularySize: 2048,
        embeddingLength: 256,
        feedForwardLength: 768,
        headCount: 8,
        queryWidth: 256,
        attention: [{ layers: 6, keyWidth: 128, valueWidth: 128, window: null }],
        recurrentElements: 0,
        hasOutput: false,
        tokenEmbeddingBytes: 430_080,
        spanBytes: 3_215_872,
      },
    });
  });

  it('has no profile of a model without layers, or with more than there can be', async () => {
    for (const layers of [undefined, 513, 4_000_000_000]) {
      const { 'llama.block_count': _, ...metadata } = tinyModelMetadata();
      if (layers !== undefined) metadata['llama.block_count'] = { type: 'u32', value: layers };
      const { memory } = await readGgufFacts(await write(makeGguf({ metadata })));
      expect(memory).toBeNull();
    }
  });

  it('leaves facts null that the file does not state', async () => {
    const metadata = { 'general.architecture': { type: 'string', value: 'mamba' } } as const;
    await expect(readGgufFacts(await write(makeGguf({ metadata })))).resolves.toMatchObject({
      quantization: null,
      layerCount: null,
      vocabSize: null,
      eosTokenId: null,
      hasChatTemplate: false,
    });
  });

  it('counts a vocabulary of 200,000 tokens without reading it into memory', async () => {
    const metadata = tinyModelMetadata();
    const tokens = Array.from({ length: 200_000 }, (_, index) => `token number ${index}`);
    metadata['tokenizer.ggml.tokens'] = { type: 'strings', value: tokens };
    const path = await write(makeGguf({ metadata }), 'vocabulary.gguf');
    await expect(readGgufFacts(path)).resolves.toMatchObject({ vocabSize: 200_000, hasChatTemplate: true });
  });

  it.each([
    ['extension', 'model.bin', makeGguf({ metadata: tinyModelMetadata() })],
    ['magic', 'model.gguf', Buffer.from('PK\x03\x04 this is an archive')],
    ['magic', 'model.gguf', Buffer.from('GGU')],
    ['magic', 'model.gguf', Buffer.alloc(0)],
    ['version', 'model.gguf', makeGguf({ version: 1, metadata: tinyModelMetadata() })],
    ['version', 'model.gguf', makeGguf({ version: 9, metadata: tinyModelMetadata() })],
    ['big_endian', 'model.gguf', Buffer.from('GGUF\0\0\0\x03\0\0\0\0\0\0\0\0')],
    ['corrupt', 'model.gguf', makeGguf({})],
    ['corrupt', 'model.gguf', Buffer.from(`GGUF\x03\0\0\0${'\xff'.repeat(8)}${'\x01\0\0\0\0\0\0\0'}`, 'latin1')],
  ])('refuses a file for its %s (%s)', async (reason, name, bytes) => {
    await expect(readGgufFacts(await write(bytes, name))).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL_FORMAT',
      details: { reason },
    });
  });

  it('names both sizes of a truncated file', async () => {
    const whole = makeGguf({ metadata: tinyModelMetadata(), tensors: { a: 100, b: 7 } });
    const path = await write(whole);
    await truncate(path, whole.length - 1);
    await expect(readGgufFacts(path)).rejects.toMatchObject({
      message: expect.stringMatching(new RegExp(`at least ${whole.length} bytes, the file has ${whole.length - 1}`)),
      details: { reason: 'truncated', needed_bytes: whole.length, file_bytes: whole.length - 1 },
    });
  });

  it('recognises every truncation of a small file', async () => {
    const whole = makeGguf({ metadata: tinyModelMetadata(), tensors: { a: 9 } });
    const path = await write(whole);
    for (let length = whole.length - 1; length >= 0; length--) {
      await truncate(path, length);
      await expect(readGgufFacts(path)).rejects.toMatchObject({
        code: 'UNSUPPORTED_MODEL_FORMAT',
        details: { reason: length < 8 ? 'magic' : 'truncated' },
      });
    }
  });

  it('answers any bytes with facts or a coded error', async () => {
    const whole = makeGguf({ metadata: tinyModelMetadata(), tensors: { a: 9 } });
    const header = makeGguf({ metadata: {}, tensors: {} }).subarray(0, 8);
    const mutation = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 12 });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 400 }).map((random) => Buffer.from(random)),
      fc.uint8Array({ maxLength: 400 }).map((random) => Buffer.concat([header, random])),
      mutation.map((changes) => {
        const mutated = Buffer.from(whole);
        for (const [at, value] of changes) mutated[at] = value;
        return mutated;
      }),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (content) => {
        const outcome = await readGgufFacts(await write(content, 'fuzz.gguf')).then(
          () => 'facts',
          (error: { code?: string }) => error.code,
        );
        expect(['facts', 'UNSUPPORTED_MODEL_FORMAT']).toContain(outcome);
      }),
      { numRuns: 600 },
    );
  });
});

describe('inspectModelFiles', () => {
  const split = (count: number) =>
    makeGguf({ metadata: { ...tinyModelMetadata(), 'split.count': { type: 'u32', value: count } }, tensors: { a: 8 } });

  it('sums the parts of a split model', async () => {
    const later = makeGguf({ tensors: { b: 64 } });
    const first = await write(split(2), 'big-00001-of-00002.gguf');
    await write(later, 'big-00002-of-00002.gguf');
    await expect(inspectModelFiles(first)).resolves.toMatchObject({ sizeBytes: split(2).length + later.length });
  });

  it('refuses a split model with a missing part, and one that does not start at its first part', async () => {
    const missing = { code: 'UNSUPPORTED_MODEL_FORMAT', details: { reason: 'missing_part' } };
    await expect(inspectModelFiles(await write(split(3), 'gap-00001-of-00003.gguf'))).rejects.toMatchObject(missing);
    await expect(inspectModelFiles(await write(split(3), 'gap-00002-of-00003.gguf'))).rejects.toMatchObject(missing);
  });
});
