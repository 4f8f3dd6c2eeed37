import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { SlotCounts } from './slot-counts.js';

describe('SlotCounts', () => {
  it('counts what is lent and given back, twice given back once', () => {
    const counts = new SlotCounts(new ManualClock(0));
    let told = 0;
    const leases = [1, 2].map(() => counts.lend('w', () => told++));
    expect(counts.usage('w')).toMatchObject({ inFlight: 2, lastEndedMs: undefined });
    leases[0]?.release();
    leases[0]?.release();
    expect(counts.usage('w')).toMatchObject({ inFlight: 1, lastEndedMs: 0 });
    expect(told).toBe(1);
    expect(counts.usage('other')).toEqual({ inFlight: 0, lastEndedMs: undefined });
  });

  it('knows how long jobs take, recent ones above all', async () => {
    const clock = new ManualClock(0);
    const counts = new SlotCounts(clock);
    const work = async (durationMs: number) => {
      const lease = counts.lend('w', () => undefined);
      await clock.advance(durationMs);
      lease.release();
      return counts.meanMs('w');
    };
    expect(counts.meanMs('w')).toBeUndefined();
    expect(await work(1_000)).toBe(1_000);
    expect(await work(2_000)).toBe(1_200);
  });

  it('forgets workers that are no more, but none with a job', () => {
    const counts = new SlotCounts(new ManualClock(0));
    for (let index = 0; index < 100; index++) counts.lend(`w${index}`, () => undefined).release();
    counts.lend('w7', () => undefined);
    counts.forgetGone((id) => id === 'w8');
    const known = [7, 8, 9].map((index) => counts.usage(`w${index}`).lastEndedMs !== undefined);
    expect(known).toEqual([true, true, false]);
    expect(counts.usage('w7').inFlight).toBe(1);
  });
});
