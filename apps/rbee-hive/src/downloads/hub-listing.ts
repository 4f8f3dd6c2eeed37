import { type Clock, sleep, type Timeouts } from '@rbee/daemon-kit';
import { toRbeeError } from '@rbee/protocol';
import type { Hub, HubFile } from '../hub/hub.js';
import { attemptRules, decideNext, reasonOf, waitOf } from './attempt-policy.js';

export interface HubListingOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Hears why a listing failed, before the attempt of this number follows. */
export type OnRetry = (reason: string, attempt: number, delayMs: number) => void;

/** A caller waits for the list, and is told at once when the hub asks for a longer pause. */
const LONGEST_PAUSE_MS = 10_000;

/** The files of a repository, in as many attempts as are worth it. Throws what the hub answers, or the signal's reason. */
export async function listInAttempts(
  { hub, clock, timeouts, variables }: HubListingOptions,
  repo: string,
  signal: AbortSignal,
  onRetry: OnRetry,
): Promise<HubFile[]> {
  for (let attempt = 1; ; ) {
    try {
      return await hub.listFiles(repo, signal);
    } catch (caught) {
      signal.throwIfAborted();
      const error = toRbeeError(caught);
      const step = decideNext({ attempt, error, progressMs: 0 }, attemptRules(timeouts, variables));
      if (!step.retry) throw step.error;
      if (step.delayMs > LONGEST_PAUSE_MS) throw error;
      attempt = step.attempt;
      onRetry(reasonOf(error), attempt, step.delayMs);
      await sleep(clock, waitOf(step.delayMs, error, variables), signal);
    }
  }
}
