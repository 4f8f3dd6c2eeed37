import type { Clock } from './clock.js';
import type { Logger } from './logger.js';

type Release = () => void | Promise<void>;

/** What a daemon has acquired; released in reverse order, once, each within the deadline of the whole. */
export class Releasers {
  #stack: { name: string; release: Release }[] = [];
  #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Remembers how to give something back. */
  add(name: string, release: Release): void {
    this.#stack.push({ name, release });
  }

  /** Gives everything back, newest first; one failure is logged and does not keep the rest from being released. */
  async releaseAll(): Promise<void> {
    for (let next = this.#stack.pop(); next; next = this.#stack.pop()) {
      try {
        await next.release();
      } catch (error) {
        this.#log.error({ error, part: next.name }, `could not release ${next.name}`);
      }
    }
  }
}

/** A daemon that runs. */
export interface Running {
  /** Drains and gives everything back; a second call waits for the first. */
  stop(reason: string): Promise<void>;
  /** Settles when the daemon has ended by itself or by `stop`, with its exit code. */
  readonly ended: Promise<number>;
}

/** Process-wide signals, as `process` gives them. */
export interface SignalSource {
  on(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', listener: () => void): unknown;
  off(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', listener: () => void): unknown;
}

/**
 * Waits until a daemon has ended and gives its exit code. The first SIGTERM, SIGINT or SIGHUP drains; a second one, or
 * the deadline, gives up waiting with exit code 1.
 */
export async function runUntilEnded(
  running: Running,
  options: { signals: SignalSource; clock: Clock; deadlineMs: number; log: Logger },
): Promise<number> {
  const { signals, clock, deadlineMs, log } = options;
  let cancelDeadline: (() => void) | undefined;
  let forceEnd: (code: number) => void = () => undefined;
  const forced = new Promise<number>((resolve) => {
    forceEnd = resolve;
  });
  const listeners = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).map((signal) => {
    const listener = () => {
      if (cancelDeadline) {
        log.warn({ signal }, 'second signal: ending at once');
        return forceEnd(1);
      }
      cancelDeadline = clock.after(deadlineMs, () => {
        log.error({ deadline_ms: deadlineMs }, 'shutdown took too long: ending at once');
        forceEnd(1);
      });
      running.stop(signal).catch((error: unknown) => {
        log.error({ error }, 'shutdown failed');
        forceEnd(1);
      });
    };
    signals.on(signal, listener);
    return () => signals.off(signal, listener);
  });
  try {
    return await Promise.race([running.ended, forced]);
  } finally {
    cancelDeadline?.();
    for (const remove of listeners) remove();
  }
}
