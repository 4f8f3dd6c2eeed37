import { describe, expect, it } from '@jest/globals';
import { checkBearer } from './bearer.js';
import { callJson } from './call.js';
import { Secret } from './secret-file.js';
import { silentLogger } from './silent-logger.js';
import { sampleRoutes, startSampleService, stopSampleServices } from './testing/sample-service.js';

const ROUNDS = 200;
const REQUESTS = 1000;

const KEY = '0123456789abcdef'.repeat(4);

/** 100 keys of one length, each made from the right one. */
function keys(toKey: (index: number) => string): string[] {
  return Array.from({ length: 100 }, (_, index) => toKey(index));
}

const digit = (index: number) => 'ghijklmnop'[index % 10] as string;
const RIGHT = keys(() => KEY);
const WRONG_AT_FIRST = keys((index) => digit(index) + KEY.slice(1));
const WRONG_AT_LAST = keys((index) => KEY.slice(0, -1) + digit(index));

/** Durations of two actions, whose rounds take turns so that whatever else the machine does falls on both. */
function measure(first: () => void, second: () => void): [number[], number[]] {
  let durations: [number[], number[]] = [[], []];
  const once = (index: 0 | 1) => {
    const begin = performance.now();
    if (index === 0) first();
    else second();
    durations[index].push(performance.now() - begin);
  };
  for (let round = -20; round < ROUNDS; round += 1) {
    // The first rounds are for the compiler.
    if (round === 0) durations = [[], []];
    once(round % 2 === 0 ? 0 : 1);
    once(round % 2 === 0 ? 1 : 0);
  }
  return durations;
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number;
}

/** How far apart the medians are, as a share of the smaller one. */
function differenceOf([first, second]: [number[], number[]]): number {
  const [a, b] = [quantile(first, 0.5), quantile(second, 0.5)];
  return Math.abs(a - b) / Math.min(a, b);
}

describe('the time that a key takes', () => {
  it('L115: is the same for a right and a wrong one', () => {
    const secret = new Secret(KEY);
    const compare = (given: readonly string[]) => () => {
      for (const each of given) secret.matches(each);
    };
    expect(differenceOf(measure(compare(RIGHT), compare(WRONG_AT_LAST)))).toBeLessThan(0.1);
  });

  it('L115: does not tell how much of a wrong one is right', () => {
    const secret = new Secret(KEY);
    const refuse = (given: readonly string[]) => () => {
      for (const each of given) {
        try {
          checkBearer(`Bearer ${each}`, secret, silentLogger);
        } catch {
          continue;
        }
        throw new Error('a wrong key was accepted');
      }
    };
    expect(differenceOf(measure(refuse(WRONG_AT_FIRST), refuse(WRONG_AT_LAST)))).toBeLessThan(0.1);
  });

  it('L124: adds less than 1 ms to a request, and less than 5 ms to the slowest of a hundred', async () => {
    const key = new Secret(KEY);
    const closed = await startSampleService({}, { key, callerKey: key });
    const open = await startSampleService();
    try {
      const durations: [number[], number[]] = [[], []];
      for (let request = -50; request < REQUESTS; request += 1) {
        for (const [index, { target }] of [closed, open].entries()) {
          const begin = performance.now();
          await callJson(target, sampleRoutes.listItems);
          if (request >= 0) durations[index as 0 | 1].push(performance.now() - begin);
        }
      }
      const [withKey, without] = durations;
      const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
      expect(mean(withKey) - mean(without)).toBeLessThan(1);
      expect(quantile(withKey, 0.99) - quantile(without, 0.99)).toBeLessThan(5);
    } finally {
      await stopSampleServices();
    }
  });
});
