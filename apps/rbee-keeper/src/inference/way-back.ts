import { type Clock, orAborted, sleep } from '@rbee/daemon-kit/client';
import { type ErrorCode, isRbeeError, RbeeError } from '@rbee/protocol';
import type { QueenConnection } from '../queen/queen-connection.js';

export interface WayBackOptions {
  readonly clock: Clock;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** How long the queen may be away, in all, before the task goes on. */
  readonly limitMs: number;
  /** Told once for each absence that lasts. */
  readonly onAbsence: () => void;
}

const WAITS_MS = [0, 100, 200, 400, 800, 1600, 2000];
const TELL_AFTER_MS = 1000;
/** Why a queen could not be used just now, but perhaps a little later. */
const MAY_PASS: ReadonlySet<ErrorCode> = new Set(['CONNECTION_TIMEOUT', 'WORKER_CONNECTION_LOST', 'QUEEN_UNREACHABLE']);

/**
 * The way back to a queen whose connection was lost. The queen is away from the loss until a stream is open again; the time away is
 * forgotten only when the task has gone on, so that a queen that closes every connection at once keeps nobody for ever.
 */
export class WayBack {
  readonly #queen: Pick<QueenConnection, 'revive'>;
  readonly #options: WayBackOptions;
  #awaySince: number | undefined;
  /** Time of earlier absences since the task last went on. */
  #spentMs = 0;
  #attempts = 0;
  #told = false;
  #stopTelling: () => void = () => undefined;

  constructor(queen: Pick<QueenConnection, 'revive'>, options: WayBackOptions) {
    this.#queen = queen;
    this.#options = options;
  }

  /** Whether the queen is away now. */
  get isAway(): boolean {
    return this.#awaySince !== undefined;
  }

  /** Waits until a queen answers. Throws WORKER_CONNECTION_LOST when the time is up, what makes another attempt senseless, or the signal's reason. */
  async find(jobId: string, lost: RbeeError, signal: AbortSignal): Promise<void> {
    const { clock, variables, limitMs } = this.#options;
    if (variables.RBEE_NO_RETRY) throw lost;
    this.#leave();
    let refusal: RbeeError | undefined;
    for (;;) {
      const nominal = WAITS_MS[Math.min(this.#attempts++, WAITS_MS.length - 1)] as number;
      const waitMs = variables.RBEE_NO_JITTER ? nominal : nominal * (0.5 + Math.random());
      const leftMs = limitMs - this.#awayMs;
      if (leftMs <= 0) throw refusal ?? toAbsenceError(jobId, lost, this.#awayMs);
      if (waitMs > 0) await sleep(clock, Math.min(waitMs, leftMs), signal);
      try {
        if (await orAborted(this.#queen.revive(), signal)) return;
        refusal = undefined;
      } catch (error) {
        if (signal.aborted || !isRbeeError(error) || !MAY_PASS.has(error.code)) throw error;
        refusal = error;
      }
    }
  }

  /** A stream is open. */
  connect(): void {
    this.#spentMs = this.#awayMs;
    this.#awaySince = undefined;
    this.#stopTelling();
  }

  /** The task has gone on. */
  arrive(): void {
    this.connect();
    this.#spentMs = 0;
    this.#attempts = 0;
    this.#told = false;
  }

  get #awayMs(): number {
    return this.#spentMs + (this.#awaySince === undefined ? 0 : this.#options.clock.monotonic() - this.#awaySince);
  }

  #leave(): void {
    const { clock, onAbsence } = this.#options;
    if (this.#awaySince !== undefined) return;
    this.#awaySince = clock.monotonic();
    if (this.#told) return;
    this.#stopTelling = clock.after(TELL_AFTER_MS, () => {
      this.#told = true;
      onAbsence();
    });
  }
}

function toAbsenceError(job_id: string, lost: RbeeError, ms: number): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', 'queen-rbee does not answer any more', {
    details: { service: 'queen-rbee', job_id, waited_seconds: Math.round(ms / 1000), last_attempt: lost.message },
    cause: lost,
  });
}
