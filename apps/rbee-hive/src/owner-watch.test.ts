import { expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { OwnerWatch } from './owner-watch.js';

it('loses its owner after the silence that is allowed now, and once', async () => {
  const clock = new ManualClock();
  let [silenceMs, connected, lost] = [60_000, true, 0];
  const watch = new OwnerWatch({
    clock,
    get silenceMs() {
      return silenceMs;
    },
    isConnected: () => connected,
    onLost: () => {
      lost++;
    },
  });
  await clock.advance(90_000);
  connected = false;
  await clock.advance(50_000);
  watch.contact();
  await clock.advance(50_000);
  expect(lost).toBe(0);
  silenceMs = 51_000;
  watch.rearm();
  await clock.advance(5_100);
  expect(lost).toBe(1);
  await clock.advance(200_000);
  expect([lost, clock.pending]).toEqual([1, 0]);
});
