import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Resources } from '@rbee/protocol';
import { isNoticeable, ResourceWatch } from './resource-watch.js';

const of = (ram: number, disk = 50_000, totalGb = 100): Resources => ({
  ...{ ram_total_gb: totalGb, ram_available_gb: ram / 1024, ram_available_mb: ram },
  ...{ disk_total_gb: totalGb, disk_available_gb: disk / 1024, disk_available_mb: disk },
  gpus: [],
});

it.each([
  ['nothing', of(1000), of(1000), false],
  ['a little memory', of(1000), of(937), false],
  ['64 MB of memory', of(1000), of(936), true],
  ['64 MB of memory, the other way', of(936), of(1000), true],
  ['64 MB of disk', of(1000, 500), of(1000, 564), true],
  ['less than 2 % of a small machine', of(100, 500, 1), of(120, 500, 1), false],
  ['2 % of a small machine', of(100, 500, 1), of(121, 500, 1), true],
  ['nothing, on a machine without figures', of(0, 0, 0), of(0, 0, 0), false],
])('isNoticeable of %s', (_what, before, now, expected) => {
  expect(isNoticeable(before, now)).toBe(expected);
});

describe('ResourceWatch', () => {
  const build = (read: () => Promise<Resources>) => {
    const clock = new ManualClock();
    const told: number[] = [];
    const state = { heard: true };
    const watch = new ResourceWatch({
      ...{ clock, log: silentLogger, read },
      isHeard: () => state.heard,
      publish: ({ ram_available_mb }) => told.push(ram_available_mb),
    });
    return { clock, told, state, watch };
  };

  it('tells of changes since what was told last, and looks only while somebody listens', async () => {
    let free = 1000;
    let looks = 0;
    const { clock, told, state, watch } = build(async () => {
      looks++;
      return of(free);
    });
    watch.told(of(1000));
    await clock.advance(5000);
    for (free of [960, 930, 900, 800]) await clock.advance(5000);
    expect(told).toEqual([930, 800]);
    state.heard = false;
    free = 100;
    const before = looks;
    await clock.advance(60_000);
    expect([looks, told.length]).toEqual([before, 2]);
    watch.stop();
    expect(clock.pending).toBe(0);
  });

  it('waits for a slow look, and goes on after one that failed', async () => {
    const answers: { resolve: (resources: Resources) => void; reject: (error: Error) => void }[] = [];
    const { clock, told, watch } = build(() => new Promise((resolve, reject) => answers.push({ resolve, reject })));
    await clock.advance(20_000);
    expect(answers).toHaveLength(1);
    answers[0]?.reject(new Error('cannot be read'));
    await clock.advance(5000);
    answers[1]?.resolve(of(700));
    await clock.advance(1);
    expect(told).toEqual([700]);
    watch.stop();
  });
});
