import { describe, expect, it } from '@jest/globals';
import type { Token } from 'node-llama-cpp';
import { GREEDY, RecentTokens, toEvaluateOptions, toSeed } from './sampling.js';

describe('toSeed', () => {
  it.each([
    [0, 0],
    [1234, 1234],
    [0xfffffffe, 0xfffffffe],
    [0xffffffff, 0xfffffffe],
    [2 ** 32 + 5, 5],
  ])('%d runs as %d, and never as the seed that means "any"', (given, seed) => expect(toSeed(given)).toBe(seed));

  it('is another 32-bit number for each request that gives none', () => {
    const seeds = Array.from({ length: 50 }, () => toSeed(undefined));
    expect(new Set(seeds).size).toBe(50);
    for (const seed of seeds) expect(seed >= 0 && seed < 0xffffffff && Number.isInteger(seed)).toBe(true);
  });
});

describe('RecentTokens', () => {
  it('keeps the last 64', () => {
    const recent = new RecentTokens(Array.from({ length: 100 }, (_none, id) => id as Token));
    recent.push(100 as Token);
    expect(recent.list()).toEqual(Array.from({ length: 64 }, (_none, index) => index + 37));
  });
});

describe('toEvaluateOptions', () => {
  const recent = new RecentTokens([]);

  it('leaves out what is switched off', () => {
    expect(toEvaluateOptions({ ...GREEDY, seed: 1 }, recent)).toEqual({
      temperature: 0,
      topP: 1,
      minP: 0,
      topK: null,
      seed: 1,
    });
  });

  it('passes everything else on', () => {
    const sampling = { temperature: 0.7, topP: 0.9, topK: 40, minP: 0.05, repetitionPenalty: 1.2, seed: 7 };
    expect(toEvaluateOptions(sampling, recent)).toEqual({
      ...{ temperature: 0.7, topP: 0.9, topK: 40, minP: 0.05, seed: 7 },
      repeatPenalty: { penalty: 1.2, maxPunishTokens: 64, punishTokens: recent.list },
    });
  });
});
