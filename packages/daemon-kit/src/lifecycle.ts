import type { Clock } from './clock.js';
import type { Hangups } from './hangups.js';
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

export interface RunOptions {
  readonly signals: SignalSource;
  readonly clock: Clock;
  /** Longest time that the draining may take; read when it begins. */
  readonly deadlineMs: number;
  readonly log: Logger;
  /** What a hangup does in place of draining, for example reading the configuration again. */
  readonly onHangup?: { readonly hangups: Hangups; readonly run: () => void };
}

/**
 * Waits until a daemon has ended and gives its exit code. The first SIGTERM, SIGINT or SIGHUP drains; a second one, or
 * the deadline, gives up waiting with exit code 1. With `onHangup`, SIGHUP drains only when the terminal that the daemon
 * was started on is gone, and is nothing to a daemon that is ending.
 */
export async function runUntilEnded(running: Running, options: RunOptions): Promise<number> {
  const { signals, clock, log, onHangup } = options;
  let cancelDeadline: (() => void) | undefined;
  let forceEnd: (code: number) => void = () => undefined;
  const forced = new Promise<number>((resolve) => {
    forceEnd = resolve;
  });
  const end = (signal: string) => {
    if (cancelDeadline) {
      log.warn({ signal }, 'second signal: ending at once');
      return forceEnd(1);
    }
    const { deadlineMs } = options;
    cancelDeadline = clock.after(deadlineMs, () => {
      log.error({ deadline_ms: deadlineMs }, 'shutdown took too long: ending at once');
      forceEnd(1);
    });
    running.stop(signal).catch((error: unknown) => {
      log.error({ error }, 'shutdown failed');
      forceEnd(1);
    });
  };
  const ending = onHangup ? (['SIGTERM', 'SIGINT'] as const) : (['SIGTERM', 'SIGINT', 'SIGHUP'] as const);
  const listeners = ending.map((signal) => {
    const listener = () => end(signal);
    signals.on(signal, listener);
    return () => signals.off(signal, listener);
  });
  onHangup?.hangups.attend((terminalGone) => {
    if (cancelDeadline) return;
    if (terminalGone) return end('SIGHUP');
    try {
      onHangup.run();
    } catch (error) {
      log.error({ error }, 'what a hangup asks for has failed');
    }
  });
  try {
    return await Promise.race([running.ended, forced]);
  } finally {
    cancelDeadline?.();
    onHangup?.hangups.close();
    for (const remove of listeners) remove();
  }
}
