import { describe, expect, it } from '@jest/globals';
import { type RetryPolicy, retry } from './retry.js';
import { ManualClock } from './testing/manual-clock.js';

const EXACT = { RBEE_NO_JITTER: '1' };

/** An operation that fails the given number of times; notes when it was tried. */
function failing(clock: ManualClock, failures: number) {
  const start = clock.now();
  const times: number[] = [];
  const operation = async () => {
    times.push(clock.now() - start);
    if (times.length <= failures) throw new Error(`attempt ${times.length}`);
    return 'done';
  };
  return { times, operation };
}

const policy = (more: Partial<RetryPolicy> = {}): RetryPolicy => ({
  waits: [0, 200, 400],
  isRetryable: () => true,
  ...more,
});

describe('a repeated operation', () => {
  it('is tried after each wait, and told before each further attempt', async () => {
    const clock = new ManualClock();
    const { times, operation } = failing(clock, 2);
    const told: unknown[] = [];
    const onRetry = (attempt: number, waitMs: number, error: unknown) =>
      told.push([attempt, waitMs, (error as Error).message]);
    const result = retry(policy({ onRetry }), { clock, variables: EXACT }, operation);
    await clock.advance(600);
    expect(await result).toBe('done');
    expect(times).toEqual([0, 200, 600]);
    expect(told).toEqual([
      [2, 200, 'attempt 1'],
      [3, 400, 'attempt 2'],
    ]);
    expect(clock.pending).toBe(0);
  });

  it('throws the last error when all attempts are used up', async () => {
    const clock = new ManualClock();
    const { times, operation } = failing(clock, 9);
    const result = expect(retry(policy(), { clock, variables: EXACT }, operation)).rejects.toThrow('attempt 3');
    await clock.advance(600);
    await result;
    expect(times).toHaveLength(3);
  });

  it('stops at an error that another attempt cannot change', async () => {
    const clock = new ManualClock();
    const { times, operation } = failing(clock, 9);
    await expect(retry(policy({ isRetryable: () => false }), { clock, variables: {} }, operation)).rejects.toThrow(
      'attempt 1',
    );
    expect(times).toHaveLength(1);
  });

  it('waits before the first attempt when it shall', async () => {
    const clock = new ManualClock();
    const { times, operation } = failing(clock, 0);
    const result = retry(policy({ waits: [100] }), { clock, variables: EXACT }, operation);
    await clock.advance(100);
    await result;
    expect(times).toEqual([100]);
  });

  it('waits half to one and a half times as long, at random', async () => {
    const waits: number[] = [];
    for (let i = 0; i < 50; i++) {
      const clock = new ManualClock();
      const { times, operation } = failing(clock, 1);
      const result = retry(policy({ waits: [0, 1000] }), { clock, variables: {} }, operation);
      await clock.advance(1500);
      await result;
      waits.push(times[1] ?? 0);
    }
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...waits)).toBeLessThan(1500);
    expect(new Set(waits.map(Math.round)).size).toBeGreaterThan(10);
  });

  it('has one attempt with RBEE_NO_RETRY', async () => {
    const clock = new ManualClock();
    const { times, operation } = failing(clock, 9);
    await expect(retry(policy(), { clock, variables: { RBEE_NO_RETRY: '1' } }, operation)).rejects.toThrow('attempt 1');
    expect(times).toHaveLength(1);
  });

  it('ends with its signal, in a wait and before an attempt without one', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const { times, operation } = failing(clock, 9);
    const result = retry(policy(), { clock, variables: EXACT, signal: abort.signal }, operation);
    await clock.advance(100);
    abort.abort(new Error('enough'));
    await expect(result).rejects.toThrow('enough');
    await expect(
      retry(policy({ waits: [0, 0] }), { clock, variables: {}, signal: abort.signal }, operation),
    ).rejects.toThrow('enough');
    expect(times).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });
});
