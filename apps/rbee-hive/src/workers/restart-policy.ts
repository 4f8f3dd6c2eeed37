/** Why a worker was lost that nobody told to end. */
export type WorkerLoss =
  /** Its process ended by itself. */
  | 'crash'
  /** Its health checks failed. */
  | 'unhealthy'
  /** It took no part in a canary, or its engine stands still. */
  | 'canary'
  /** It was started again, and that start has failed. */
  | 'start';

/** Everything that the decision about a lost worker rests on; times are milliseconds since the epoch. */
export interface LostWorker {
  readonly loss: WorkerLoss;
  /** Whether workers of this hive are started again at all. */
  readonly enabled: boolean;
  readonly pinned: boolean;
  /** How often it has been started again already. */
  readonly restarts: number;
  /** When it became ready for jobs; `undefined` when it never did. */
  readonly readySince: number | undefined;
  /** When workers of the same kind were lost of late, this loss included. */
  readonly failures: readonly number[];
  readonly now: number;
  /** Wait before the first new start. */
  readonly waitMs: number;
  /** 0 to 1, for the jitter; 0.5 is none. */
  readonly random: number;
}

/** `restarts`: the count with the start that follows. */
export type RestartDecision =
  | { readonly restart: true; readonly afterMs: number; readonly restarts: number }
  | { readonly restart: false; readonly why: string };

const MAX_RESTARTS = 3;
const MAX_FAILURES = 5;
export const FAILURE_WINDOW_MS = 300_000;
const STABLE_MS = 3_600_000;
const LONGEST_WAIT_MS = 60_000;
const JITTER = 0.2;

/**
 * Whether and when a lost worker is started again. One whose engine stands still is replaced at once and as often as it
 * takes; any other where the hive was told to or the worker is pinned, after a wait that doubles, three times at most. An
 * hour of stability clears that count. Five losses of a kind within five minutes end it in every case.
 */
export function decideRestart(lost: LostWorker): RestartDecision {
  const { loss, enabled, pinned, failures, now } = lost;
  const recent = failures.filter((at) => now - at < FAILURE_WINDOW_MS).length;
  if (recent >= MAX_FAILURES) {
    return {
      restart: false,
      why: `${recent} workers of its kind were lost within ${FAILURE_WINDOW_MS / 60_000} minutes`,
    };
  }
  const stable = lost.readySince !== undefined && now - lost.readySince >= STABLE_MS;
  const restarts = stable ? 0 : lost.restarts;
  if (loss === 'canary') return { restart: true, afterMs: 0, restarts: restarts + 1 };
  if (!enabled && !pinned) return { restart: false, why: 'this hive does not start lost workers again' };
  if (restarts >= MAX_RESTARTS) return { restart: false, why: `it was started again ${restarts} times already` };
  const jitter = 1 + JITTER * (2 * lost.random - 1);
  return {
    restart: true,
    afterMs: Math.min(lost.waitMs * 2 ** restarts * jitter, LONGEST_WAIT_MS),
    restarts: restarts + 1,
  };
}
