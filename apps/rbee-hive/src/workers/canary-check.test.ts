import { describe, expect, it } from '@jest/globals';
import { silentLogger, sleep } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type Canary, RbeeError } from '@rbee/protocol';
import { CanaryCheck } from './canary-check.js';
import { HealthCheck } from './health-check.js';
import type { WorkerHealth } from './worker-client.js';

const healthy = (step_ms?: number): WorkerHealth => ({ status: 'healthy', vram_bytes: 0, uptime_seconds: 1, step_ms });
const failed = (code: string, details: object = {}) =>
  new RbeeError(code as 'NOT_FOUND', 'as told', { details: { ...details } });
const SILENT = failed('CONNECTION_TIMEOUT', { timeout_ms: 20_000 });
const REFUSED = failed('CONNECTION_TIMEOUT', { cause: 'ECONNREFUSED' });

/** A check of a worker that answers as listed: a canary with the first, each question for its health with the next of `healths`. */
async function outcomeOf(
  canary: Canary | RbeeError,
  healths: (WorkerHealth | RbeeError)[],
  { canaryTakesMs = 0, idle = false } = {},
) {
  const clock = new ManualClock();
  const answer = <T>(given: T | RbeeError | undefined) =>
    given === undefined || given instanceof RbeeError ? Promise.reject(given ?? SILENT) : Promise.resolve(given);
  const client = {
    sendCanary: async () => {
      if (canaryTakesMs > 0) await sleep(clock, canaryTakesMs);
      return answer(canary);
    },
    checkHealth: () => answer(healths.shift()),
  };
  const check = new CanaryCheck(
    clock,
    { canary_answer: 20_000 },
    () => client,
    new AbortController().signal,
    () => idle,
  );
  let settled = false;
  const running = check.run().finally(() => {
    settled = true;
  });
  while (!settled) await clock.advance(500);
  return running;
}

describe('a canary', () => {
  const busy: Canary = { outcome: 'busy', ms: 0 };
  const stands = (why: RegExp, moves: boolean) => ({ why: expect.stringMatching(why), moves });
  it.each<[string, Canary | RbeeError, (WorkerHealth | RbeeError)[], unknown]>([
    ['that comes back', { outcome: 'passed', ms: 3 }, [], undefined],
    ['that finds no free slot in an engine that works', busy, [healthy(40)], undefined],
    [
      'that finds no free slot in an engine that stands',
      busy,
      [healthy(30_000), healthy(31_000)],
      stands(/one step for/, false),
    ],
    ['that meets an engine which only had slept', busy, [healthy(30_000), healthy(5)], undefined],
    ['that meets an engine at its next long step', busy, [healthy(30_000), healthy(21_000)], undefined],
    ['to a worker that is gone by the second look', busy, [healthy(30_000), REFUSED], undefined],
    ['without an answer', SILENT, [SILENT], stands(/no answer/, false)],
    ['without an answer, beside jobs that go on', SILENT, [healthy(40)], stands(/no answer/, true)],
    ['without an answer, beside jobs that stand', SILENT, [healthy(60_000)], stands(/no answer/, false)],
    ['that the engine could not take', failed('INFERENCE_FAILED'), [healthy()], stands(/INFERENCE_FAILED/, true)],
    ['to a worker that nobody can reach', REFUSED, [], undefined],
    ['to a worker that ends', failed('WORKER_DRAINING'), [], undefined],
    ['to a worker of a version without canaries', failed('NOT_FOUND'), [], undefined],
  ])('%s', async (_what, canary, healths, expected) => {
    expect(await outcomeOf(canary, healths)).toEqual(expected);
  });

  it('without an answer, where no job runs, needs no second look: nobody is asked anything more', async () => {
    const healths = [healthy(1)];
    expect(await outcomeOf(SILENT, healths, { idle: true })).toEqual(stands(/no answer/, false));
    expect(await outcomeOf(failed('INFERENCE_FAILED'), healths, { idle: true })).toEqual(stands(/INFERENCE/, false));
    expect(healths).toHaveLength(1);
  });

  it('counts for nothing when this process stood still meanwhile', async () => {
    expect(await outcomeOf(SILENT, [], { canaryTakesMs: 30_000 })).toBeUndefined();
  });
});

it('a health check counts for nothing when this process stood still meanwhile', async () => {
  const clock = new ManualClock();
  let takesMs = 5_500;
  const check = new HealthCheck(clock, silentLogger, 5_000, async () => {
    await clock.advance(takesMs);
    throw SILENT;
  });
  expect(await check.run()).toBe('failed');
  takesMs = 10_000;
  expect(await check.run()).toBe('skipped');
  expect(check.failuresInARow).toBe(1);
});
