import { expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import fc from 'fast-check';
import { IdleTimer } from './idle-timer.js';

const IDLE_MS = 300_000;

it('runs exactly when nothing was done for the whole time', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ pause: fc.nat(200_000), work: fc.nat(400_000) }), { maxLength: 8 }),
      async (jobs) => {
        const clock = new ManualClock();
        const idleAt: number[] = [];
        const timer = new IdleTimer(clock, IDLE_MS, () => idleAt.push(clock.now()));
        timer.start();
        let ended = clock.now();
        for (const { pause, work } of jobs) {
          await clock.advance(pause);
          timer.stop();
          await clock.advance(work);
          timer.workEnded(new Date(clock.now()).toISOString());
          ended = clock.now();
          timer.start();
        }
        await clock.advance(IDLE_MS);
        expect(idleAt).toEqual([ended + IDLE_MS]);
        expect(clock.pending).toBe(0);
      },
    ),
    { numRuns: 50 },
  );
});

it('goes on from where the timer of another hive was', async () => {
  const clock = new ManualClock();
  let idle = false;
  const timer = new IdleTimer(clock, IDLE_MS, () => {
    idle = true;
  });
  timer.continueFrom(new Date(clock.now() - IDLE_MS + 1000).toISOString());
  timer.start();
  await clock.advance(999);
  expect(idle).toBe(false);
  await clock.advance(1);
  expect(idle).toBe(true);
});
