/** Time as a daemon sees it; tests replace it by a manual clock. All figures are milliseconds. */
export interface Clock {
  /** Wall clock, since the epoch. */
  now(): number;
  /** Steady clock for durations, with fractions. */
  monotonic(): number;
  /** Runs a task once after a delay of any length, infinite included; the returned function cancels it. */
  after(delayMs: number, task: () => void): () => void;
  /** Runs a task again and again; the returned function ends it. */
  every(periodMs: number, task: () => void): () => void;
}

/** A longer timer of Node.js overflows and fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A timer that fires later than this shows that the process was stopped, or its event loop blocked, in the meantime. */
const STOPPED_MS = 1_000;

/**
 * The machine's own clock. A single delay keeps the process alive, because somebody waits for what follows; a
 * periodic task alone does not. A delay that ran out while the process was stopped gets up to a second more: what it waits
 * for may have come long ago and only has to be read.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, task) {
    const end = performance.now() + delayMs;
    let timer: NodeJS.Timeout;
    const fire = () => {
      if (performance.now() - end > STOPPED_MS) timer = setTimeout(task, Math.min(delayMs, STOPPED_MS));
      else task();
    };
    const arm = (remainingMs: number) => {
      timer =
        remainingMs > MAX_TIMER_MS
          ? setTimeout(() => arm(remainingMs - MAX_TIMER_MS), MAX_TIMER_MS)
          : setTimeout(fire, remainingMs);
    };
    arm(delayMs);
    return () => clearTimeout(timer);
  },
  every(periodMs, task) {
    const timer = setInterval(task, Math.min(periodMs, MAX_TIMER_MS));
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** A periodic task whose period may change. */
export interface Repeating {
  /** Looks at the period again; only another one than before starts it anew from now. */
  rearm(): void;
  stop(): void;
}

/** Runs a task again and again, as often as `periodMs` says now. Who changes that calls `rearm`. */
export function everyLive(clock: Clock, periodMs: () => number, task: () => void): Repeating {
  let period = periodMs();
  let cancel = clock.every(period, task);
  let stopped = false;
  return {
    rearm: () => {
      const next = periodMs();
      if (stopped || next === period) return;
      cancel();
      period = next;
      cancel = clock.every(period, task);
    },
    stop: () => {
      stopped = true;
      cancel();
    },
  };
}

/** Waits. Rejects with the signal's reason as soon as that is aborted. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    const abort = () => {
      cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** The result of a promise, or the error that `toError` makes when it takes longer than `timeoutMs`. */
export function withTimeout<T>(clock: Clock, timeoutMs: number, promise: Promise<T>, toError: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => reject(toError()));
    promise.then(resolve, reject).finally(cancel);
  });
}

/** The result of a promise, or the signal's reason as soon as that is aborted. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
