import { describe, expect, it } from '@jest/globals';
import { smallModel } from '../../test/small-model.js';
import { estimateMemory } from '../gguf/estimate-memory.js';
import { requiredMemory, requiredMemoryMb } from './required-memory.js';

const MB = 1024 * 1024;

describe('requiredMemoryMb', () => {
  it.each([
    [5000 * MB, 6000],
    [669 * MB, 803],
    [3_280_800, 4],
    [10 * MB, 12],
    [10 * MB + 1, 13],
    [0, 0],
  ])('of %i bytes is %i MB', (bytes, mb) => {
    expect(requiredMemoryMb(bytes)).toBe(mb);
  });
});

describe('requiredMemory', () => {
  it.each([
    ['without a profile', null],
    ['with an estimate that is smaller', smallModel()],
  ])('is 1.2 times the file %s', (_when, profile) => {
    expect(requiredMemory({ sizeBytes: 5000 * MB, profile })).toMatchObject({
      requiredMb: 6000,
      deviceMb: 6000,
      rule: 'file_size',
      because: '1.2 times its 5000 MB on disk',
    });
  });

  it('is the estimate with what the process takes, where that is more', () => {
    const model = { sizeBytes: 100 * MB, profile: smallModel(), contextSize: 4096, slots: 4 };
    const { requiredMb, deviceMb, rule, estimate, because } = requiredMemory(model);
    const { total_bytes, kv_cache_bytes } = estimateMemory(smallModel(), { contextSize: 4096, slots: 4 });
    expect(kv_cache_bytes).toBe(4 * 4096 * 64 * 1024);
    expect({ rule, estimate }).toMatchObject({ rule: 'estimate', estimate: { total_bytes } });
    expect(deviceMb).toBe(Math.ceil(total_bytes / MB));
    expect(requiredMb).toBe(Math.ceil((total_bytes + 80 * MB + 2048 * 768) / MB));
    expect(because).toMatch(/^weights 100, caches 1024, buffers \d+, process 82$/);
  });

  it('grows with the context and the slots', () => {
    const need = (contextSize: number, slots: number) =>
      requiredMemory({ sizeBytes: 100 * MB, profile: smallModel(), contextSize, slots }).requiredMb;
    expect(need(8192, 1)).toBeGreaterThan(need(4096, 1) + 256);
    expect(need(4096, 2)).toBe(need(4096, 1) + 256);
  });

  it('takes what a worker takes by itself where nothing is asked for', () => {
    const model = { sizeBytes: 100 * MB, profile: smallModel() };
    expect(requiredMemory(model).estimate).toMatchObject({ context_size: 4096, slots: 4 });
    const short = smallModel({ contextLength: 1024 });
    expect(requiredMemory({ ...model, profile: short }).estimate).toMatchObject({ context_size: 1024 });
  });
});
