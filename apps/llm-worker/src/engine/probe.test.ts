import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Engine } from './engine.js';
import { generate, loadBundled, prepare, run } from './testing/engine-run.js';

const PROMPTS = ['write a short story', 'Write a poem about a cat.', 'What is the capital of France?', 'Hello'];

describe('a probe', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await loadBundled();
  });
  afterAll(() => engine.dispose());

  it('passes in a slot that was never used, which is empty afterwards', async () => {
    expect(await engine.probe()).toBe(true);
    expect((await run(engine, { prompt: 'Hello', maxTokens: 2 })).end.cachedTokens).toBe(0);
  });

  it('leaves every cache as it was, and so what is said from it', async () => {
    const full = await Promise.all(PROMPTS.map((prompt) => run(engine, { prompt, maxTokens: 20 })));
    for (let count = 0; count < 5; count++) expect(await engine.probe()).toBe(true);
    for (const [index, prompt] of PROMPTS.entries()) {
      const again = await run(engine, { prompt, maxTokens: 20 });
      expect(again.end.cachedTokens).toBe(again.end.promptTokens - 1);
      expect(again.text).toBe(full[index]?.text);
    }
  });

  it('is shared by those who ask at the same time', async () => {
    const first = engine.probe();
    expect(engine.probe()).toBe(first);
    await first;
    const next = engine.probe();
    expect(next).not.toBe(first);
    await next;
  });

  it('takes part in the steps of running answers, which it does not change', async () => {
    const prompt = PROMPTS[0] as string;
    const alone = await run(engine, { prompt, cachePrompt: false });
    let probes = 0;
    const beside = await run(engine, {
      prompt,
      cachePrompt: false,
      emit: () => {
        void engine.probe().then((passed) => {
          if (passed) probes++;
        });
      },
    });
    expect(beside.text.slice(0, 40)).toBe(alone.text.slice(0, 40));
    expect(probes).toBeGreaterThan(5);
  });

  it('finds no slot while jobs have them all', async () => {
    const leases = await Promise.all(
      [1, 2, 3, 4].map(async () => engine.take(await prepare(engine, { prompt: 'Hello' }))),
    );
    expect(await engine.probe()).toBe(false);
    for (const lease of leases) await lease?.release();
    expect(await engine.probe()).toBe(true);
  });

  it('shows since when the engine is in its step', async () => {
    expect(engine.stepMs).toBeUndefined();
    const probe = engine.probe();
    const seen = engine.stepMs;
    await probe;
    expect(seen).toBeGreaterThanOrEqual(0);
    await engine.idle();
    expect(engine.stepMs).toBeUndefined();
  });
});

describe('a probe of an engine with one slot', () => {
  it('does not keep that slot from a job, which waits for it and answers as ever', async () => {
    const engine = await loadBundled({ slots: 1 });
    try {
      const prompt = PROMPTS[0] as string;
      const alone = await run(engine, { prompt, maxTokens: 30, cachePrompt: false });
      for (const cachePrompt of [true, false]) {
        const job = await prepare(engine, { prompt, maxTokens: 30, cachePrompt });
        const probe = engine.probe();
        expect(engine.slotsFree).toBe(1);
        const lease = engine.take(job);
        expect(lease).toBeDefined();
        const result = lease && (await generate(lease, {}));
        expect(result?.text).toBe(alone.text);
        expect(result?.end.cachedTokens).toBe(cachePrompt ? 11 : 0);
        expect(await probe).toBe(true);
      }
    } finally {
      await engine.dispose();
    }
  });

  it('gives up a cache that has no room for a token, and only that', async () => {
    const engine = await loadBundled({ slots: 2, contextSize: 64 });
    try {
      const prompt = 'Once upon a time';
      const full = await run(engine, { prompt, template: 'none' });
      expect(full.end.stopReason).toBe('CONTEXT_FULL');
      const other = 'A dog';
      const short = await run(engine, { prompt: other, template: 'none', maxTokens: 3, cachePrompt: false });
      await engine.probe();
      const cached = async (text: string) =>
        (await run(engine, { prompt: text, template: 'none', maxTokens: 3 })).end.cachedTokens;
      expect(await cached(other)).toBe(short.end.promptTokens - 1);
      expect(await cached(prompt)).toBe(full.end.promptTokens - 1);
    } finally {
      await engine.dispose();
    }
    const small = await loadBundled({ slots: 1, contextSize: 64 });
    try {
      await run(small, { prompt: 'Once upon a time', template: 'none' });
      expect(await small.probe()).toBe(true);
      const again = await run(small, { prompt: 'Once upon a time', template: 'none', maxTokens: 3 });
      expect([again.end.cachedTokens, again.text]).toEqual([0, expect.stringMatching(/\w/)]);
    } finally {
      await small.dispose();
    }
  });
});

describe('an engine that does not work any more', () => {
  it('fails its jobs, finds out by a probe, and says so', async () => {
    const engine = await loadBundled({ slots: 2 });
    await engine.dispose();
    await expect(engine.probe()).rejects.toMatchObject({ code: 'INFERENCE_FAILED' });
    const other = await loadBundled({ slots: 2 });
    const job = await prepare(other, { prompt: 'Hello' });
    const lease = other.take(job);
    await other.dispose();
    await expect(lease && generate(lease, {})).rejects.toMatchObject({ code: 'INFERENCE_FAILED' });
    expect(await other.broken).toMatchObject({ code: 'INFERENCE_FAILED' });
  });
});
