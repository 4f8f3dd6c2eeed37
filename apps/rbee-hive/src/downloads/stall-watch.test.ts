import { expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { StallWatch } from './stall-watch.js';

function watch(firstMs: number) {
  const clock = new ManualClock();
  const stalls: number[] = [];
  const start = clock.monotonic();
  const stall = new StallWatch(clock, { firstMs, stallMs: 100, onStall: () => stalls.push(clock.monotonic() - start) });
  return { clock, stalls, stall };
}

it('calls once, when nothing has come for as long as is allowed', async () => {
  const { clock, stalls, stall } = watch(100);
  await clock.advance(90);
  stall.touch();
  await clock.advance(50);
  stall.touch();
  await clock.advance(99);
  expect(stalls).toEqual([]);
  await clock.advance(1000);
  expect(stalls).toEqual([240]);
});

it('waits longer for the first sign, not for those that follow', async () => {
  const { clock, stalls, stall } = watch(500);
  await clock.advance(400);
  stall.touch();
  await clock.advance(1000);
  expect(stalls).toEqual([500]);
  expect(clock.pending).toBe(0);
});

it('is silent while it is paused and after its end', async () => {
  const { clock, stalls, stall } = watch(100);
  stall.pause();
  await clock.advance(1000);
  stall.touch();
  await clock.advance(99);
  stall.stop();
  stall.touch();
  await clock.advance(1000);
  expect(stalls).toEqual([]);
  expect(clock.pending).toBe(0);
});

it('allows more for one sign of life, and tells how long it has waited', async () => {
  const waited: number[] = [];
  const clock = new ManualClock();
  const stall = new StallWatch(clock, { firstMs: 100, stallMs: 100, onStall: (ms) => waited.push(ms) });
  stall.allow(500);
  await clock.advance(499);
  stall.touch();
  stall.allow(300);
  await clock.advance(1000);
  expect(waited).toEqual([300]);
  expect(clock.pending).toBe(0);
});
