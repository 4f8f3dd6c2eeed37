import type { Clock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';

/** One job from the moment it has arrived until its slot is free again. */
export interface RunningJob {
  readonly id: string;
  /** Aborted by a cancel of any kind, with the reason as an RbeeError. */
  readonly signal: AbortSignal;
  cancel(reason: RbeeError): void;
  /** The slot is free. */
  end(): void;
  /** The job was refused before it had a slot: it counts as if it had never been. */
  withdraw(): void;
}

interface Entry {
  readonly job: RunningJob;
  readonly ended: Promise<void>;
}

/** The jobs that run now, by id. */
export class Jobs {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  #lastEndedAt: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get active(): number {
    return this.#entries.size;
  }

  /** When the last job ended, in milliseconds since the epoch. */
  get lastEndedAt(): number | undefined {
    return this.#lastEndedAt;
  }

  /** Throws JOB_ALREADY_RUNNING when the id is in use. */
  checkFree(id: string): void {
    if (!this.#entries.has(id)) return;
    throw new RbeeError('JOB_ALREADY_RUNNING', `a job with the id ${id} is running`, {
      details: { job_id: id },
      suggestion: 'wait for its end, or use another job_id',
    });
  }

  /** Enters a job whose id is free. */
  begin(id: string): RunningJob {
    this.checkFree(id);
    const abort = new AbortController();
    let resolve: () => void = () => undefined;
    const ended = new Promise<void>((done) => {
      resolve = done;
    });
    const leave = (): void => {
      if (this.#entries.get(id)?.job === job) this.#entries.delete(id);
      resolve();
    };
    const job: RunningJob = {
      id,
      signal: abort.signal,
      cancel: (reason) => abort.abort(reason),
      end: () => {
        this.#lastEndedAt = this.#clock.now();
        leave();
      },
      withdraw: leave,
    };
    this.#entries.set(id, { job, ended });
    return job;
  }

  /** Cancels a job and resolves when its slot is free; at once for an id that does not run. */
  async cancel(id: string, reason: RbeeError): Promise<void> {
    const entry = this.#entries.get(id);
    entry?.job.cancel(reason);
    await entry?.ended;
  }

  cancelAll(reason: RbeeError): void {
    for (const { job } of this.#entries.values()) job.cancel(reason);
  }

  /** Resolves when the jobs that run now have ended. */
  async idle(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => entry.ended));
  }
}
