import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decideRestart, type LostWorker, type WorkerLoss } from './restart-policy.js';

const NOW = Date.UTC(2030, 0, 1);
const lost = (more: Partial<LostWorker> = {}): LostWorker => ({
  loss: 'crash',
  enabled: true,
  pinned: false,
  restarts: 0,
  readySince: NOW - 10_000,
  failures: [NOW],
  now: NOW,
  waitMs: 1000,
  random: 0.5,
  ...more,
});
const ago = (...seconds: number[]) => seconds.map((s) => NOW - s * 1000);

describe('a lost worker', () => {
  it.each<[string, Partial<LostWorker>, object]>([
    ['stays away where nobody asked for more', { enabled: false }, { restart: false }],
    ['is started again where it is pinned', { enabled: false, pinned: true }, { restart: true, afterMs: 1000 }],
    ['is started again after its first loss', {}, { restart: true, afterMs: 1000, restarts: 1 }],
    ['waits twice as long the second time', { restarts: 1 }, { afterMs: 2000, restarts: 2 }],
    ['and again the third time', { restarts: 2 }, { afterMs: 4000, restarts: 3 }],
    ['stays away after that', { restarts: 3 }, { restart: false, why: expect.stringContaining('3 times') }],
    ['is forgiven after a stable hour', { restarts: 3, readySince: NOW - 3_600_000 }, { afterMs: 1000, restarts: 1 }],
    ['is not forgiven a moment earlier', { restarts: 3, readySince: NOW - 3_599_999 }, { restart: false }],
    ['is not forgiven without having been ready', { restarts: 3, readySince: undefined }, { restart: false }],
    ['waits a minute at most', { restarts: 2, waitMs: 40_000 }, { afterMs: 60_000 }],
    ['stays away after the fifth loss of its kind', { failures: ago(0, 1, 2, 3, 299) }, { restart: false }],
    ['does not mind losses long ago', { failures: ago(0, 1, 2, 3, 300) }, { restart: true }],
    ['waits less by chance', { random: 0 }, { afterMs: 800 }],
    ['waits more by chance', { random: 1 }, { afterMs: 1200 }],
  ])('%s', (_what, more, decision) => {
    expect(decideRestart(lost(more))).toMatchObject(decision);
  });

  it('is replaced at once when its engine stands still, whatever the hive was told', () => {
    const decision = decideRestart(lost({ loss: 'canary', enabled: false, restarts: 7 }));
    expect(decision).toEqual({ restart: true, afterMs: 0, restarts: 8 });
    expect(decideRestart(lost({ loss: 'canary', failures: ago(0, 1, 2, 3, 4) }))).toMatchObject({ restart: false });
  });

  it('is never started again more often than the losses of its kind allow', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            pause: fc.integer({ min: 1, max: 200_000 }),
            loss: fc.constantFrom<WorkerLoss>('crash', 'canary'),
          }),
        ),
        (losses) => {
          let now = NOW;
          let restarts = 0;
          const failures: number[] = [];
          const starts: number[] = [];
          for (const { pause, loss } of losses) {
            now += pause;
            failures.push(now);
            const decision = decideRestart(lost({ loss, restarts, failures, now, readySince: now - pause }));
            if (!decision.restart) continue;
            ({ restarts } = decision);
            starts.push(now);
          }
          for (const at of starts)
            expect(starts.filter((other) => at - other >= 0 && at - other < 300_000).length).toBeLessThan(5);
        },
      ),
    );
  });
});
