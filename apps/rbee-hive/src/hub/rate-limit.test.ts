import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RateLimit } from './rate-limit.js';

const forever = new AbortController().signal;

/** Takes without end and counts. */
function takeAll(limit: RateLimit, signal = forever) {
  const taken = { bytes: 0 };
  const ended = (async () => {
    for (;;) taken.bytes += await limit.take(65_536, signal);
  })();
  return { taken, ended };
}

describe('a rate limit', () => {
  it('lets everything pass at once when there is none', async () => {
    await expect(new RateLimit(new ManualClock()).take(5_000_000, forever)).resolves.toBe(5_000_000);
  });

  it.each([1_000, 1_000_000])('of %d bytes per second is kept', async (rate) => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const { taken, ended } = takeAll(new RateLimit(clock, rate), stop.signal);
    for (let step = 0; step < 100; step++) await clock.advance(100);
    expect(taken.bytes).toBeLessThanOrEqual(rate * 10.1);
    expect(taken.bytes).toBeGreaterThanOrEqual(rate * 9.8);
    stop.abort(new Error('enough'));
    await expect(ended).rejects.toThrow('enough');
    expect(clock.pending).toBe(0);
  });

  it('may change, and be lifted, while somebody waits', async () => {
    const clock = new ManualClock();
    const limit = new RateLimit(clock, 1);
    const first = limit.take(1_000, forever);
    limit.set(1_000_000);
    await clock.advance(1);
    await expect(first).resolves.toBe(1_000);
    const second = limit.take(90_000, forever);
    limit.set(undefined);
    await expect(second).resolves.toBe(90_000);
    expect(clock.pending).toBe(0);
  });

  it('saves nothing up beyond a tenth of a second', async () => {
    const clock = new ManualClock();
    const limit = new RateLimit(clock, 1_000);
    await clock.advance(60_000);
    expect(await limit.take(5_000, forever)).toBe(100);
    const passed: number[] = [];
    const next = limit.take(5_000, forever).then((bytes) => passed.push(bytes));
    await clock.advance(99);
    expect(passed).toEqual([]);
    await clock.advance(1);
    await next;
    expect(passed).toEqual([100]);
  });
});
