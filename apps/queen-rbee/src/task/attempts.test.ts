import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Attempts } from './attempts.js';

/** After which of these losses, told by the tokens that had gone out by then, a task ends; `undefined`: after none. */
function endOf(lossesAt: readonly number[], mayRetry = true): number | undefined {
  const attempts = new Attempts(mayRetry);
  const end = lossesAt.findIndex((tokensOut) => !attempts.lose(tokensOut));
  return end < 0 ? undefined : end + 1;
}

const every = (step: number, count: number) => Array.from({ length: count }, (_, index) => step * (index + 1));

describe('how many workers a task may lose', () => {
  it.each<[string, readonly number[], number | undefined]>([
    ['one before the first token', [0], undefined],
    ['two before the first token', [0, 0], 2],
    ['one in mid-answer', [100], undefined],
    ['one with hardly a token, and then one without', [3, 3], undefined],
    ['three in a row without getting on', [3, 3, 3], 3],
    ['three in a row that get on by seven tokens', [7, 14, 21], 3],
    ['any that get on by eight tokens', every(8, 16), undefined],
    ['as many as there may be, and one more', every(100, 17), 17],
    ['two without getting on, again and again', [100, 100, 101, 200, 201, 202, 300, 301, 302], undefined],
    ['one after many tokens, and then three in a row', [100, 101, 102, 103], 4],
  ])('%s', (_what, lossesAt, end) => expect(endOf(lossesAt)).toBe(end));

  it('none, where nothing is to be tried again', () => expect(endOf([50], false)).toBe(1));

  it('is never more than 16', () => {
    const steps = fc.array(fc.nat(40), { minLength: 17, maxLength: 60 });
    fc.assert(
      fc.property(steps, (gains) => {
        let tokens = 0;
        const lossesAt = gains.map((gain) => (tokens += gain));
        expect(endOf(lossesAt)).toBeLessThanOrEqual(17);
      }),
    );
  });
});

it('a task is placed 20 times without a token in between, and no more', () => {
  const attempts = new Attempts(true);
  const place = (tokensOut: number) => attempts.place(tokensOut);
  for (let count = 0; count < 20; count++) expect(place(0)).toBe(true);
  expect(place(0)).toBe(false);
  for (let count = 0; count < 20; count++) expect(place(5)).toBe(true);
  expect(place(5)).toBe(false);
});

describe('how many hives a task may lose before they give it a worker', () => {
  const endOfHives = (lossesAt: readonly number[], mayRetry = true) => {
    const attempts = new Attempts(mayRetry);
    return lossesAt.findIndex((tokensOut) => !attempts.loseHive(tokensOut)) + 1;
  };

  it('five in a row, and others after the next token', () => {
    expect(endOfHives([0, 0, 0, 0, 0])).toBe(0);
    expect(endOfHives([0, 0, 0, 0, 0, 0])).toBe(6);
    expect(endOfHives([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])).toBe(0);
    expect(endOfHives([0], false)).toBe(1);
  });

  it('is no matter of the workers that it may lose', () => {
    const attempts = new Attempts(true);
    expect(attempts.loseHive(0)).toBe(true);
    expect(attempts.lose(0)).toBe(true);
    expect(attempts.losses).toBe(1);
  });
});
