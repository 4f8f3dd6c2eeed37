import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { type AttemptRules, decideNext, reasonOf, waitOf } from './attempt-policy.js';

const RULES: AttemptRules = { stallMs: 60_000, firstWaitMs: 100, noRetry: false };
const broken = new RbeeError('DOWNLOAD_FAILED', 'it broke', {
  details: { reason: 'the connection broke', cause: 'ECONNRESET' },
});
const corrupt = new RbeeError('CHECKSUM_MISMATCH', 'corrupt', { retryable: true });
const busyHub = new RbeeError('DOWNLOAD_FAILED', 'too many requests', { details: { retry_after_ms: 2000 } });

describe('decideNext', () => {
  it.each([
    [1, broken, 0, { attempt: 2, delayMs: 100 }],
    [2, broken, 0, { attempt: 3, delayMs: 200 }],
    [5, broken, 0, { attempt: 6, delayMs: 1600 }],
    [5, broken, 60_000, { attempt: 6, delayMs: 1600 }],
    [6, broken, 60_001, { attempt: 2, delayMs: 100 }],
    [1, busyHub, 0, { attempt: 2, delayMs: 2000 }],
    [1, corrupt, 0, { attempt: 2, delayMs: 100 }],
    [4, corrupt, 100_000, { attempt: 5, delayMs: 800 }],
  ])('after attempt %d with %p and %d ms of progress comes %p', (attempt, error, progressMs, expected) => {
    expect(decideNext({ attempt, error, progressMs }, RULES)).toEqual({ retry: true, ...expected });
  });

  it.each(['DOWNLOAD_FAILED', 'DOWNLOAD_TIMEOUT', 'CHECKSUM_MISMATCH'] as const)(
    'ends with %s after the last',
    (code) => {
      const error = new RbeeError(code, 'it broke', {
        retryable: true,
        details: { reason: 'the connection broke', file: 'f' },
      });
      const step = decideNext({ attempt: 6, error, progressMs: 0 }, RULES);
      expect(step).toMatchObject({
        retry: false,
        error: {
          code,
          message: 'it broke (6 attempts)',
          details: { file: 'f', attempts: 6, last_cause: 'the connection broke' },
        },
      });
      expect(step.retry === false && step.error.suggestion).toMatch(/repeat/);
    },
  );

  it('ends at once with what no further attempt can mend', () => {
    const error = new RbeeError('MODEL_NOT_FOUND', 'no');
    expect(decideNext({ attempt: 1, error, progressMs: 0 }, RULES)).toEqual({ retry: false, error });
  });

  it('makes one attempt where there shall be no retries', () => {
    const step = decideNext({ attempt: 1, error: broken, progressMs: 1e9 }, { ...RULES, noRetry: true });
    expect(step).toMatchObject({ retry: false, error: { message: 'it broke (1 attempt)', details: { attempts: 1 } } });
  });
});

it('reasonOf names the cause in few words', () => {
  expect(reasonOf(broken)).toBe('the connection broke (reset)');
  expect(reasonOf(new RbeeError('DOWNLOAD_FAILED', 'x', { details: { reason: 'r', cause: 'UND_ERR_SOCKET' } }))).toBe(
    'r',
  );
  expect(reasonOf(corrupt)).toBe('corrupt');
});

it('waitOf is never shorter than what was asked for, and exact on request', () => {
  for (let count = 0; count < 100; count++) {
    expect(waitOf(2000, busyHub, {})).toBeGreaterThanOrEqual(2000);
    const waitMs = waitOf(100, broken, {});
    expect(waitMs).toBeGreaterThanOrEqual(50);
    expect(waitMs).toBeLessThan(150);
  }
  expect(waitOf(100, broken, { RBEE_NO_JITTER: '1' })).toBe(100);
});
