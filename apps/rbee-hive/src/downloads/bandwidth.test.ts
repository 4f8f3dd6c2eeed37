import { expect, it } from '@jest/globals';
import { Bandwidth } from './bandwidth.js';

it('is shared equally by those who are there', () => {
  const bandwidth = new Bandwidth(() => 1000);
  const told: string[] = [];
  const a = bandwidth.take((share) => told.push(`a${share}`));
  expect(a.bytesPerSecond).toBe(1000);
  const b = bandwidth.take((share) => told.push(`b${share}`));
  const c = bandwidth.take((share) => told.push(`c${share}`));
  expect([a.bytesPerSecond, b.bytesPerSecond, c.bytesPerSecond]).toEqual([333, 333, 333]);
  a.leave();
  a.leave();
  expect(told).toEqual(['a500', 'a333', 'b333', 'b500', 'c500']);
});

it('has no limit when none is set', () => {
  const bandwidth = new Bandwidth(() => undefined);
  const share = bandwidth.take(() => {
    throw new Error('there is nothing to share');
  });
  bandwidth.take(() => undefined).leave();
  expect(share.bytesPerSecond).toBeUndefined();
});

it('tells those who are there of another limit, and when there is none any more', () => {
  let limit: number | undefined = 1000;
  const bandwidth = new Bandwidth(() => limit);
  const told: string[] = [];
  const a = bandwidth.take((share) => told.push(`a${share}`));
  bandwidth.take((share) => told.push(`b${share}`));
  limit = 600;
  bandwidth.changed();
  expect(a.bytesPerSecond).toBe(300);
  limit = undefined;
  bandwidth.changed();
  expect(a.bytesPerSecond).toBeUndefined();
  expect(told).toEqual(['a500', 'a300', 'b300', 'aundefined', 'bundefined']);
});
