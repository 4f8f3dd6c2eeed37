import type { Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';

/** Attempts in all before a download is given up. */
export const MAX_ATTEMPTS = 6;

export interface FailedAttempt {
  /** Its number, from 1. */
  readonly attempt: number;
  readonly error: RbeeError;
  /** For how long, in milliseconds, it brought bytes that no attempt before had brought. */
  readonly progressMs: number;
}

export interface AttemptRules {
  /** Milliseconds without a byte after which an attempt has failed. */
  readonly stallMs: number;
  /** Wait before the second attempt in milliseconds; each further one is twice the one before. */
  readonly firstWaitMs: number;
  /** Whether the first failure is the last. */
  readonly noRetry: boolean;
}

export type NextStep =
  | { readonly retry: true; readonly attempt: number; readonly delayMs: number }
  | { readonly retry: false; readonly error: RbeeError };

/**
 * What follows on a failed attempt: another one, later than whoever answers asks for, or the end. An attempt that went well
 * for longer than a stall lasts makes the count begin anew: a large file may break often, as long as it comes nearer.
 */
export function decideNext({ attempt, error, progressMs }: FailedAttempt, rules: AttemptRules): NextStep {
  if (!error.retryable) return { retry: false, error };
  // Of a corrupt file nothing is left.
  const counted = progressMs > rules.stallMs && error.code !== 'CHECKSUM_MISMATCH' ? 1 : attempt;
  if (rules.noRetry || counted >= MAX_ATTEMPTS) return { retry: false, error: usedUp(error, counted) };
  const asked = error.details.retry_after_ms;
  const delayMs = Math.max(rules.firstWaitMs * 2 ** (counted - 1), typeof asked === 'number' ? asked : 0);
  return { retry: true, attempt: counted + 1, delayMs };
}

type Variables = Readonly<Record<string, string | undefined>>;

/** The rules that a hive's settings make; RBEE_NO_RETRY leaves one attempt. */
export function attemptRules({ download_stall, download_retry }: Timeouts, variables: Variables): AttemptRules {
  return { stallMs: download_stall, firstWaitMs: download_retry, noRetry: Boolean(variables.RBEE_NO_RETRY) };
}

/**
 * How long to wait really, in milliseconds: the nominal time by a random half to one and a half, so that many nodes do not
 * come back at once, but never less than was asked for. RBEE_NO_JITTER makes it exact.
 */
export function waitOf(delayMs: number, { details }: RbeeError, variables: Variables): number {
  if (variables.RBEE_NO_JITTER) return delayMs;
  const asked = typeof details.retry_after_ms === 'number' ? details.retry_after_ms : 0;
  return Math.max(asked, delayMs * (0.5 + Math.random()));
}

function usedUp(error: RbeeError, attempts: number): RbeeError {
  const { retry_after_ms: _asked, ...details } = error.details;
  const times = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new RbeeError(error.code, `${error.message} (${times})`, {
    details: { ...details, attempts, last_cause: reasonOf(error) },
    suggestion:
      error.suggestion ?? 'check the network of this node and repeat the command: it goes on where it stopped',
    cause: error,
  });
}

/** Why an attempt failed, in few words. */
export function reasonOf({ details, message }: RbeeError): string {
  const { reason, cause } = details;
  if (typeof reason !== 'string') return message;
  const code = typeof cause === 'string' && /^E[A-Z]+$/.test(cause) ? cause : undefined;
  return code === undefined ? reason : `${reason} (${code === 'ECONNRESET' ? 'reset' : code})`;
}
