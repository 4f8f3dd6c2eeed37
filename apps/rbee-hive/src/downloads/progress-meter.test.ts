import { expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { DownloadProgress } from '@rbee/protocol';
import { ProgressMeter } from './progress-meter.js';

function meterOf(limit?: number) {
  const clock = new ManualClock();
  const told: (DownloadProgress & { stage: 'downloading' })[] = [];
  const meter = new ProgressMeter({
    ...{ clock, source: 'hub' as const, totalBytes: () => 10_000_000, limit: () => limit },
    tell: (event) => event.stage === 'downloading' && told.push(event),
  });
  return { clock, told, meter };
}

it('tells at most four times a second, and the newest state at the latest then', async () => {
  const { clock, told, meter } = meterOf();
  meter.begin(0);
  for (let ms = 0; ms < 1000; ms += 10) {
    meter.advance(ms * 1000);
    await clock.advance(10);
  }
  await clock.advance(1000);
  expect(told.map((event) => event.bytes_downloaded)).toEqual([0, 240_000, 490_000, 740_000, 990_000]);
  expect(clock.pending).toBe(0);
});

it('measures speed over the last seconds and what is left', async () => {
  const { clock, told, meter } = meterOf();
  meter.begin(2_000_000);
  expect(told.at(-1)).toMatchObject({ speed_mbps: 0, resumed_from: 2_000_000, bytes_total: 10_000_000 });
  expect(told.at(-1)?.eta_seconds).toBeUndefined();
  for (let second = 1; second <= 20; second++) {
    await clock.advance(1000);
    // Fast at first, then 100 kB a second.
    meter.advance(2_000_000 + Math.min(second, 5) * 1_000_000 + Math.max(0, second - 5) * 100_000);
  }
  expect(told.at(-1)).toEqual({
    ...{ stage: 'downloading', bytes_downloaded: 8_500_000, bytes_total: 10_000_000, speed_mbps: 0.8, eta_seconds: 15 },
    ...{ resumed_from: 2_000_000, source: 'hub' },
  });
  expect(meter.percent).toBe(85);
  expect(meter.received).toBe(6_500_000);
});

it('says when a limit sets the speed', async () => {
  const { clock, told, meter } = meterOf(1000);
  meter.begin(0);
  await clock.advance(1000);
  meter.advance(700);
  await clock.advance(1000);
  meter.advance(2000);
  expect(told.map(({ throttled }) => throttled)).toEqual([undefined, undefined, true]);
});

it('begins anew when bytes go back, and tells what it has kept to itself when it pauses', async () => {
  const { clock, told, meter } = meterOf();
  meter.begin(500);
  meter.advance(600);
  meter.pause();
  meter.advance(100);
  expect(told.map((event) => event.bytes_downloaded)).toEqual([500, 600, 100]);
  expect(told.at(-1)?.resumed_from).toBe(100);
  await clock.advance(1000);
  meter.pause();
  expect(told).toHaveLength(3);
});
