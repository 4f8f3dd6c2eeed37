import type { Clock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { WorkerUsage } from '../placement/snapshot.js';

/** One taken slot; giving it back twice is harmless. */
export interface SlotLease {
  readonly workerId: string;
  release(): void;
}

/** Where a task stands in a queue. */
export interface QueuePosition {
  /** Tasks in front of it, plus one. */
  readonly position: number;
  /** Estimated wait, once this worker has finished a job. */
  readonly etaMs: number | undefined;
}

interface Waiter {
  readonly ticket: number;
  readonly onPosition: (position: QueuePosition) => void;
  readonly grant: (lease: SlotLease) => void;
  readonly refuse: (error: RbeeError) => void;
  told: number;
}

interface Entry {
  inFlight: number;
  readonly waiters: Waiter[];
  /** Mean duration of this worker's jobs, recent ones counting most. */
  meanMs: number | undefined;
  lastEndedMs: number | undefined;
}

export interface WorkerSlotsOptions {
  readonly clock: Clock;
  /** How many tasks may wait for one worker. */
  readonly queueLength: number;
  /** Slots of a worker: 0 while it takes no jobs, `undefined` when it has gone. */
  readonly capacityOf: (workerId: string) => number | undefined;
}

export interface WaitOptions {
  /** Place of the task in the order in which all tasks came; one that is placed anew comes before those that came later. */
  readonly ticket: number;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly onPosition: (position: QueuePosition) => void;
}

/** The one owner of the queen's own slot counts: jobs that run on each worker, and the tasks that wait for it, first come first served. */
export class WorkerSlots {
  readonly #options: WorkerSlotsOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: WorkerSlotsOptions) {
    this.#options = options;
  }

  usage(workerId: string): WorkerUsage {
    const entry = this.#entries.get(workerId);
    const { inFlight = 0, lastEndedMs } = entry ?? {};
    return { inFlight, waiting: entry?.waiters.length ?? 0, lastEndedMs };
  }

  /** Throws QUEUE_FULL when a task that would wait for this worker finds no place in its queue. */
  checkQueue(workerId: string): void {
    const { queueLength } = this.#options;
    const entry = this.#entries.get(workerId);
    const waiting = entry?.waiters.length ?? 0;
    if (waiting < queueLength) return;
    throw queueFull(
      `${waiting} tasks wait for worker ${workerId} already`,
      { worker_id: workerId, waiting },
      entry?.meanMs,
    );
  }

  /**
   * Takes a slot: at once when one is free and nobody waits, otherwise when it is this task's turn. Rejects with
   * QUEUE_FULL, ALL_SLOTS_BUSY after the timeout, WORKER_NOT_FOUND when the worker goes meanwhile, or the signal's reason.
   */
  take(workerId: string, wait: WaitOptions): Promise<SlotLease> {
    wait.signal.throwIfAborted();
    const entry = this.#entry(workerId);
    const capacity = this.#options.capacityOf(workerId);
    if (capacity === undefined) return Promise.reject(workerGone(workerId));
    if (entry.waiters.length === 0 && entry.inFlight < capacity) return Promise.resolve(this.#lend(workerId, entry));
    this.checkQueue(workerId);
    return this.#wait(workerId, entry, wait);
  }

  /** Looks at every queue again, after workers have changed. */
  settle(): void {
    for (const [workerId, entry] of this.#entries) this.#settle(workerId, entry);
  }

  #entry(workerId: string): Entry {
    let entry = this.#entries.get(workerId);
    if (!entry) {
      entry = { inFlight: 0, waiters: [], meanMs: undefined, lastEndedMs: undefined };
      this.#entries.set(workerId, entry);
    }
    return entry;
  }

  #wait(workerId: string, entry: Entry, { ticket, signal, timeoutMs, onPosition }: WaitOptions): Promise<SlotLease> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const leave = () => {
        cancelTimer();
        signal.removeEventListener('abort', abort);
        const index = entry.waiters.indexOf(waiter);
        if (index >= 0) entry.waiters.splice(index, 1);
      };
      const refuse = (error: RbeeError) => {
        leave();
        reject(error);
        this.#tellPositions(workerId, entry);
      };
      const abort = () => refuse(signal.reason as RbeeError);
      const cancelTimer = clock.after(timeoutMs, () => refuse(this.#toTimeoutError(workerId, timeoutMs)));
      const waiter: Waiter = {
        ticket,
        onPosition,
        refuse,
        grant: (lease) => {
          leave();
          resolve(lease);
        },
        told: Number.POSITIVE_INFINITY,
      };
      signal.addEventListener('abort', abort, { once: true });
      const later = entry.waiters.findIndex((other) => other.ticket > ticket);
      entry.waiters.splice(later < 0 ? entry.waiters.length : later, 0, waiter);
      this.#tellPositions(workerId, entry);
    });
  }

  #settle(workerId: string, entry: Entry): void {
    const capacity = this.#options.capacityOf(workerId);
    if (capacity === undefined) {
      for (const waiter of [...entry.waiters]) waiter.refuse(workerGone(workerId));
      if (entry.inFlight === 0) this.#entries.delete(workerId);
      return;
    }
    const before = entry.waiters.length;
    while (entry.inFlight < capacity) {
      const next = entry.waiters[0];
      if (!next) break;
      next.grant(this.#lend(workerId, entry));
    }
    if (entry.waiters.length !== before) this.#tellPositions(workerId, entry);
  }

  #lend(workerId: string, entry: Entry): SlotLease {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    entry.inFlight++;
    let released = false;
    return {
      workerId,
      release: () => {
        if (released) return;
        released = true;
        entry.inFlight--;
        entry.lastEndedMs = clock.monotonic();
        const durationMs = entry.lastEndedMs - startedAt;
        entry.meanMs = entry.meanMs === undefined ? durationMs : entry.meanMs * 0.8 + durationMs * 0.2;
        this.#settle(workerId, entry);
      },
    };
  }

  #tellPositions(workerId: string, entry: Entry): void {
    const slots = Math.max(1, this.#options.capacityOf(workerId) ?? 1);
    for (const [index, waiter] of entry.waiters.entries()) {
      const position = index + 1;
      if (position >= waiter.told) continue;
      waiter.told = position;
      const etaMs = entry.meanMs === undefined ? undefined : Math.round(entry.meanMs * Math.ceil(position / slots));
      waiter.onPosition({ position, etaMs });
    }
  }

  #toTimeoutError(workerId: string, timeoutMs: number): RbeeError {
    const total = this.#options.capacityOf(workerId) ?? 0;
    const { inFlight } = this.usage(workerId);
    return new RbeeError('ALL_SLOTS_BUSY', `no slot of worker ${workerId} became free within ${timeoutMs / 1000} s`, {
      details: { worker_id: workerId, slots_total: total, slots_busy: inFlight, waited_ms: timeoutMs },
      suggestion: 'wait for the running tasks to finish, choose another node with --node, or start another worker',
    });
  }
}

/** The error for a queue that takes no more tasks; says when to come back. */
export function queueFull(why: string, details: Record<string, unknown>, meanMs: number | undefined): RbeeError {
  return new RbeeError('QUEUE_FULL', `the queue is full: ${why}`, {
    details: { ...details, retry_after_seconds: Math.max(1, Math.ceil((meanMs ?? 1000) / 1000)) },
    suggestion: 'try again later, or choose another node with --node',
  });
}

function workerGone(workerId: string): RbeeError {
  return new RbeeError('WORKER_NOT_FOUND', `worker ${workerId} has gone`, { details: { worker_id: workerId } });
}
