import { describe, expect, it } from '@jest/globals';
import { didYouMean } from './did-you-mean.js';

const WORDS = ['infer', 'chat', 'logs', 'queen', 'workers', 'prompt', 'prompt-file', 'max-tokens', 'temperature'];

describe('didYouMean', () => {
  it.each([
    ['infre', 'infer'],
    ['INFER', 'infer'],
    ['wrokers', 'workers'],
    ['promt', 'prompt'],
    ['prmopt-file', 'prompt-file'],
    ['maxtokens', 'max-tokens'],
    ['temp', 'temperature'],
    ['log', 'logs'],
    ['zebra', undefined],
    ['x', undefined],
  ])('%s: %s', (typed, meant) => {
    expect(didYouMean(typed, WORDS)).toBe(meant);
  });
});
