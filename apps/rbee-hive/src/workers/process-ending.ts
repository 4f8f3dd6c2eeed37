import { type Clock, sleep } from '@rbee/daemon-kit';
import { defer } from './deferred.js';

/** How long each step of a stop may take. */
export interface StopLimits {
  /** From an acknowledged request to the forced end: the worker lets its jobs finish. */
  drainMs: number;
  /** From SIGTERM to SIGKILL. */
  killMs: number;
}

/** A process that got SIGKILL and still exists after this hangs in the kernel; nobody can end it. */
const KILLED_GRACE_MS = 5_000;

/** How a worker's process comes to its end, and who waits for that. Every SIGKILL that hits is reported. */
export class ProcessEnding {
  private readonly gone = defer<void>();
  private process: { signal(signal: NodeJS.Signals): boolean } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly onKilled: (reason: string) => void,
  ) {}

  attach(process: { signal(signal: NodeJS.Signals): boolean }): void {
    this.process = process;
  }

  /** The process has ended, or there never was one. */
  confirm(): void {
    this.gone.resolve();
  }

  /**
   * Ends the process: by request; when that is not acknowledged by SIGTERM; and by SIGKILL when time is up. One that goes
   * in time is never signalled. Resolves with whether it has gone.
   */
  async stop(requestShutdown: () => Promise<boolean>, limits: StopLimits): Promise<boolean> {
    const acknowledged = await requestShutdown().catch(() => false);
    if (!acknowledged) this.process?.signal('SIGTERM');
    if (await this.within(acknowledged ? limits.drainMs : limits.killMs)) return true;
    return this.kill(acknowledged ? 'did not end after its shutdown request' : 'no answer, and no end on SIGTERM');
  }

  /** SIGKILL. Resolves with whether the process has gone then. */
  async kill(reason: string): Promise<boolean> {
    if (this.process?.signal('SIGKILL')) this.onKilled(reason);
    return this.within(KILLED_GRACE_MS);
  }

  /** Whether the process ends within this time. */
  async within(ms: number): Promise<boolean> {
    const timer = new AbortController();
    const late = sleep(this.clock, ms, timer.signal).then(
      () => false,
      () => true,
    );
    return Promise.race([this.gone.promise.then(() => true), late]).finally(() => timer.abort());
  }
}
