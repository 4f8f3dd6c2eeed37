import { type Clock, sleep } from './clock.js';

export interface RetryPolicy {
  /** Waits before each attempt, in milliseconds; their number is the number of attempts. The first is usually 0. */
  readonly waits: readonly number[];
  readonly isRetryable: (error: unknown) => boolean;
  /** Told before each further attempt: its number from 2, the nominal wait, and why. */
  readonly onRetry?: (attempt: number, waitMs: number, error: unknown) => void;
}

export interface RetryContext {
  readonly clock: Clock;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Repeats an operation. The real wait is the nominal one times a random 0.5 to 1.5, so that many clients do not come
 * back at once; RBEE_NO_JITTER makes it exact and RBEE_NO_RETRY leaves one attempt.
 */
export async function retry<T>(policy: RetryPolicy, context: RetryContext, operation: () => Promise<T>): Promise<T> {
  const { clock, variables, signal } = context;
  const waits = variables.RBEE_NO_RETRY ? policy.waits.slice(0, 1) : policy.waits;
  let last: unknown;
  for (const [index, waitMs] of waits.entries()) {
    if (index > 0) {
      if (!policy.isRetryable(last)) break;
      policy.onRetry?.(index + 1, waitMs, last);
    }
    signal?.throwIfAborted();
    if (waitMs > 0) await sleep(clock, variables.RBEE_NO_JITTER ? waitMs : waitMs * (0.5 + Math.random()), signal);
    try {
      return await operation();
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
