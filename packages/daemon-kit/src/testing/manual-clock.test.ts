import { expect, it } from '@jest/globals';
import { sleep } from '../clock.js';
import { ManualClock } from './manual-clock.js';

it('runs what falls due in order, at its own time', async () => {
  const clock = new ManualClock(1000);
  const ran: [string, number][] = [];
  const note = (name: string) => () => ran.push([name, clock.now()]);
  clock.after(30, note('late'));
  clock.after(10, note('early'));
  const end = clock.every(20, note('each'));
  await clock.advance(45);
  end();
  await clock.advance(100);
  expect(ran).toEqual([
    ['early', 1010],
    ['each', 1020],
    ['late', 1030],
    ['each', 1040],
  ]);
  expect([clock.now(), clock.monotonic(), clock.pending]).toEqual([1145, 1145, 0]);
});

it('runs what a task adds within the same time', async () => {
  const clock = new ManualClock(0);
  const times: number[] = [];
  const sleeper = (async () => {
    await Promise.resolve();
    for (let i = 0; i < 3; i++) {
      await sleep(clock, 10);
      times.push(clock.now());
    }
  })();
  await clock.advance(30);
  await sleeper;
  expect(times).toEqual([10, 20, 30]);
});

it('stands still by itself, and forgets what is cancelled', async () => {
  const clock = new ManualClock();
  const start = clock.now();
  clock.after(1, () => {
    throw new Error('was cancelled');
  })();
  await clock.advance(0);
  expect([clock.now(), clock.pending]).toEqual([start, 0]);
});
