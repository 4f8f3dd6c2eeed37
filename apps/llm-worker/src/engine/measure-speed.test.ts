import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import {
  getLlama,
  type Llama,
  type LlamaContext,
  type LlamaContextSequence,
  LlamaLogLevel,
  type Token,
} from 'node-llama-cpp';
import { measureSpeed } from './measure-speed.js';
import { bundledModel } from './testing/bundled-model.js';

describe('measureSpeed', () => {
  let llama: Llama;
  let context: LlamaContext;
  let sequence: LlamaContextSequence;
  beforeAll(async () => {
    llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error });
    const model = await llama.loadModel({ modelPath: bundledModel(), gpuLayers: 0 });
    const threads = { ideal: llama.cpuMathCores, min: 1 };
    context = await model.createContext({ contextSize: 1024, flashAttention: false, threads });
    sequence = context.getSequence();
  });
  afterAll(() => llama.dispose());

  it('puts the fastest number of threads into effect, in good time, and leaves nothing behind', async () => {
    const start = performance.now();
    const speed = await measureSpeed(llama, sequence, 3_280_800, { now: systemClock.monotonic });
    // Half a second, and the last step of each count, which takes long where threads hinder each other.
    expect(performance.now() - start).toBeLessThan(5000);
    expect(llama.maxThreads).toBe(speed.threads);
    expect(sequence.nextTokenIndex).toBe(0);
    expect(speed.samples.map((sample) => sample.threads)).toContain(speed.threads);
    expect(speed.chunk).toBeGreaterThanOrEqual(16);
  });

  it('relies on a count that the engine really uses from the next step on', async () => {
    for (const threads of [1, llama.cpuMathCores, 1]) {
      llama.maxThreads = threads;
      await sequence.evaluateWithoutGeneratingNewTokens([1 as Token]);
      expect(context.currentThreads).toBe(threads);
    }
  });
});
