import { type Clock, everyLive, type Logger, type Repeating, type Timeouts } from '@rbee/daemon-kit';

/** A worker of which nothing was heard for too long. */
export interface SilentWorker {
  readonly id: string;
  /** Asks it once whether it lives. */
  ask(): Promise<boolean>;
  /** It lives. */
  touch(): void;
  /** It takes no new jobs; those that it has may end. */
  keepBusy(): void;
  /** It has gone, unless something was heard of it meanwhile. */
  forget(): void;
}

export interface StaleWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Pick<Timeouts, 'heartbeat_stale' | 'stale_busy'>;
  /** The workers of which nothing was heard since a moment. */
  readonly silentSince: (moment: number) => readonly SilentWorker[];
  /** Jobs of this queen that run on a worker. */
  readonly jobsOf: (id: string) => number;
}

const LONGEST_PERIOD_MS = 5_000;

/** Finds workers that are listed and have gone: whoever is silent for `heartbeat_stale` is asked once. One that still has a job is kept until that has ended. */
export class StaleWatch {
  readonly #options: StaleWatchOptions;
  readonly #repeating: Repeating;
  /** Since when workers that do not answer are kept for their jobs. */
  readonly #keptSince = new Map<string, number>();
  #looking = false;

  constructor(options: StaleWatchOptions) {
    this.#options = options;
    const { clock, log, timeouts } = options;
    const period = () => Math.min(LONGEST_PERIOD_MS, timeouts.heartbeat_stale / 4);
    this.#repeating = everyLive(clock, period, () => {
      this.look().catch((error: unknown) => log.error({ error }, 'silent workers could not be looked at'));
    });
  }

  /** One look at all that are silent; a look that lasts is not joined by another. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const { clock, timeouts, silentSince } = this.#options;
      const silent = silentSince(clock.now() - timeouts.heartbeat_stale);
      for (const id of this.#keptSince.keys())
        if (!silent.some((worker) => worker.id === id)) this.#keptSince.delete(id);
      await Promise.all(silent.map((worker) => this.#judge(worker)));
    } finally {
      this.#looking = false;
    }
  }

  /** Goes by the time limits that count now. */
  rearm(): void {
    this.#repeating.rearm();
  }

  close(): void {
    this.#repeating.stop();
  }

  async #judge(worker: SilentWorker): Promise<void> {
    const { clock, log, timeouts, jobsOf } = this.#options;
    if (await worker.ask()) {
      this.#keptSince.delete(worker.id);
      worker.touch();
      return;
    }
    const since = this.#keptSince.get(worker.id) ?? clock.now();
    if (jobsOf(worker.id) > 0 && clock.now() - since < timeouts.stale_busy) {
      if (!this.#keptSince.has(worker.id))
        log.warn({ worker_id: worker.id }, 'a worker with a job is silent: it gets no new ones');
      this.#keptSince.set(worker.id, since);
      worker.keepBusy();
      return;
    }
    log.warn({ worker_id: worker.id, silent_ms: timeouts.heartbeat_stale }, 'forgot a worker that is silent');
    this.#keptSince.delete(worker.id);
    worker.forget();
  }
}
