import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { LayerProgress } from './load-engine.js';
import { bundledModel } from './testing/bundled-model.js';
import { loadBundled, run } from './testing/engine-run.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-load-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('loading', () => {
  it.each(['q4_k_m', 'q5_k_m', 'q8_0'] as const)('makes a %s file generate', async (variant) => {
    const steps: LayerProgress[] = [];
    const engine = await loadBundled({
      modelPath: bundledModel(variant),
      slots: 1,
      onProgress: (step) => steps.push(step),
    });
    try {
      expect(engine.contextSize).toBe(1024);
      expect(engine.vramBytes).toBe(0);
      expect(engine.threads).toBeGreaterThanOrEqual(1);
      expect((await run(engine, { prompt: 'What is the capital of France?' })).text).toContain('Paris');
    } finally {
      await engine.dispose();
    }
    expect(steps.at(-1)).toEqual({ layersLoaded: 6, layersTotal: 6, vramBytes: 0 });
    const layers = steps.map((step) => step.layersLoaded);
    expect(layers).toEqual([...layers].sort((a, b) => a - b));
  });

  it.each([
    ['a file that is not there', () => join(folder, 'none.gguf'), 'MODEL_LOAD_FAILED', /ENOENT/],
    ['text', () => file('text.gguf', 'hello'), 'UNSUPPORTED_MODEL_FORMAT', /begins with "hell"/],
    ['an empty file', () => file('empty.gguf', ''), 'UNSUPPORTED_MODEL_FORMAT', /begins with ""/],
    ['another extension', () => file('model.bin', readFileSync(bundledModel())), 'UNSUPPORTED_MODEL_FORMAT', /\.gguf/],
    [
      'half a header',
      () => file('half.gguf', readFileSync(bundledModel()).subarray(0, 20_000)),
      'MODEL_LOAD_FAILED',
      /half\.gguf could not be loaded: it is incomplete: it has 20000 bytes/,
    ],
    [
      'half the weights',
      () => file('weights.gguf', readFileSync(bundledModel()).subarray(0, 2_000_000)),
      'MODEL_LOAD_FAILED',
      /weights\.gguf could not be loaded: it is incomplete: it has 2000000 bytes/,
    ],
    [
      'a file without its last bytes',
      () => file('end.gguf', readFileSync(bundledModel()).subarray(0, -100)),
      'MODEL_LOAD_FAILED',
      /end\.gguf could not be loaded/,
    ],
  ])('refuses %s', async (_what, makePath, code, message) => {
    const failure = loadBundled({ modelPath: makePath() });
    await expect(failure).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it.each(['cuda', 'metal', 'vulkan'] as const)('never replaces %s by something else', async (backend) => {
    const outcome = await loadBundled({ backend }).then(
      (engine) => engine.dispose().then(() => 'loaded'),
      (error: { code: string }) => error.code,
    );
    expect(['loaded', 'BACKEND_UNAVAILABLE', 'OUT_OF_MEMORY']).toContain(outcome);
    if (process.platform === 'linux' && backend === 'metal') expect(outcome).toBe('BACKEND_UNAVAILABLE');
  });

  it('refuses a context that the model was not trained for', async () => {
    await expect(loadBundled({ contextSize: 1025 })).rejects.toMatchObject({
      code: 'CONTEXT_LENGTH_EXCEEDED',
      details: { required: 1025, context_size: 1024 },
    });
  });

  it('ends when it is aborted', async () => {
    const abort = new AbortController();
    const reason = new Error('not wanted any more');
    const loading = loadBundled({ signal: abort.signal, onProgress: () => abort.abort(reason) });
    await expect(loading).rejects.toBe(reason);
  });
});
