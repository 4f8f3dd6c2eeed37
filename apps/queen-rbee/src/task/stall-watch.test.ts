import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { StallWatch } from './stall-watch.js';

function build() {
  const clock = new ManualClock();
  const stalls: number[] = [];
  const watch = new StallWatch({ clock, firstMs: 300, stallMs: 60, onStall: (limitMs) => stalls.push(limitMs) });
  return { clock, watch, stalls };
}

describe('StallWatch', () => {
  it('allows the first token its own, longer time', async () => {
    const { clock, stalls } = build();
    await clock.advance(299);
    expect(stalls).toEqual([]);
    await clock.advance(1);
    expect(stalls).toEqual([300]);
    expect(clock.pending).toBe(0);
  });

  it('counts from the last token', async () => {
    const { clock, watch, stalls } = build();
    for (let token = 0; token < 5; token++) {
      await clock.advance(50);
      watch.token();
    }
    await clock.advance(59);
    expect(stalls).toEqual([]);
    await clock.advance(1);
    expect(stalls).toEqual([60]);
  });

  it('does not count the time in which the reader is behind', async () => {
    const { clock, watch, stalls } = build();
    watch.token();
    watch.pause();
    await clock.advance(1_000);
    expect(stalls).toEqual([]);
    watch.resume();
    await clock.advance(59);
    expect(stalls).toEqual([]);
    await clock.advance(60);
    expect(stalls).toEqual([60]);
  });

  it('leaves no timer behind', () => {
    const { clock, watch } = build();
    watch.token();
    watch.stop();
    expect(clock.pending).toBe(0);
  });
});
