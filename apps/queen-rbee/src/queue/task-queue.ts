import type { Clock } from '@rbee/daemon-kit';
import type { RbeeError, TaskRequest } from '@rbee/protocol';
import type { Placement, Placer, WaitedFor } from '../placement/place-task.js';
import type { Wanted, WorkerUsage } from '../placement/snapshot.js';
import { type Claim, Claims, ClaimTally } from './claim.js';
import { estimateWait, serviceRate } from './estimate-wait.js';
import { fairOrder, LastServed, type Turn } from './fair-order.js';
import { allSlotsBusy, countWaiting, deadlineUnreachable, queueFull } from './refusals.js';
import { SlotCounts, type SlotLease } from './slot-counts.js';

/** A task as the queue sees it. */
export interface Candidate {
  /** Whose task it is; clients take turns. */
  readonly client: string;
  readonly request: Pick<TaskRequest, 'priority'>;
  /** Place in the order in which all tasks came. */
  readonly ticket: number;
  /** What it needs now; looked at whenever it comes to wait. */
  readonly wanted: Wanted;
  /** When it must have ended, milliseconds since the epoch. */
  readonly deadline: number | undefined;
  readonly signal: AbortSignal;
  /** Settles when the task is over; it leaves the queue then at the latest. */
  readonly ended: Promise<void>;
}

/** A slot on a worker that is a task's until the lease is given back. */
export interface Seat {
  readonly node: string;
  readonly workerId: string;
  /** Why this worker, as a phrase for the narration. */
  readonly reason: string;
  readonly lease: SlotLease;
}

/** Where a task stands in the queue. */
export interface QueuePosition {
  /** Tasks in front of it that want what it wants, plus one. */
  readonly position: number;
  /** Estimated wait in milliseconds, once jobs have ended on the workers that fit. */
  readonly etaMs: number | undefined;
  readonly reason: string;
}

export interface SeatOptions {
  /** Told whenever the position is better than any before. */
  readonly onPosition: (position: QueuePosition) => void;
  readonly timeoutMs: number;
}

export interface TaskQueueOptions {
  readonly clock: Clock;
  /** How many tasks may wait; one client may have half of them. */
  readonly queueLength: number;
  /** After this wait a batch task counts as interactive. */
  readonly ageingMs: number;
  /** Takes a look at the nodes, with the queue's own counts. */
  readonly look: (usage: (workerId: string) => WorkerUsage) => Placer;
  readonly hasWorker: (workerId: string) => boolean;
}

/** A task that was admitted and is not over. */
interface Entry extends Turn {
  readonly candidate: Candidate;
  again: boolean;
  wanted: Wanted;
  claim: Claim;
  /** Its slot, from the moment in which it is its turn until it takes it. */
  held: Seat | undefined;
  /** Best position that was told. */
  told: number;
  etaMs: number | undefined;
  waiter: Waiter | undefined;
  /** Told that a slot is held for it. */
  onHeld: (() => void) | undefined;
}

interface Waiter extends Pick<SeatOptions, 'onPosition'> {
  readonly since: number;
  waitsFor: readonly WaitedFor[];
  readonly resolve: (seat: Seat | undefined) => void;
}

/**
 * The one queue of the queen: it owns the counts of taken slots, and the tasks that wait for one. A task waits for every
 * worker that fits rather than for a certain one, also while a worker is being started for it; whatever becomes free goes to the next
 * in fair order. A slot is held for a task whose turn comes while it does something else.
 *
 *     (admit) ──> waiting ──its turn──> held ──> seated ──lost──> waiting, before its equals
 *                    └──────────────────leave───────┴──> gone
 */
export class TaskQueue {
  readonly #options: TaskQueueOptions;
  readonly #counts: SlotCounts;
  readonly #served = new LastServed();
  readonly #claims = new Claims();
  /** Always the same function, so that views made with it can be kept. */
  readonly #usage = (workerId: string): WorkerUsage => this.#counts.usage(workerId);
  readonly #entries = new Map<Candidate, Entry>();
  /** Those that have no slot and none held. */
  readonly #waiting = new Set<Entry>();
  #settling = false;
  #again = false;

  constructor(options: TaskQueueOptions) {
    this.#options = options;
    this.#counts = new SlotCounts(options.clock);
  }

  /** Tasks that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  usage(workerId: string): WorkerUsage {
    return this.#usage(workerId);
  }

  /** What is to be done with a task as things are now. */
  place(wanted: Wanted): Placement {
    return this.#look().place(wanted);
  }

  /**
   * Takes a new task in, and holds a slot for it at once where one is free. Throws what placement refuses it with,
   * QUEUE_FULL, or DEADLINE_UNREACHABLE when its turn is expected after its deadline.
   */
  admit(candidate: Candidate): void {
    const placement = this.place(candidate.wanted);
    if (placement.action === 'refuse') throw placement.error;
    if (placement.action !== 'use') this.#checkBounds(candidate.client);
    const entry = this.#enter(candidate);
    if (placement.action === 'wait') this.#checkDeadline(entry, placement.workers);
    this.settle();
  }

  /**
   * Resolves with a slot when it is the task's turn, or with `undefined` when no worker is left that it could wait for:
   * then the task is to be placed anew. Rejects with the signal's reason, or ALL_SLOTS_BUSY after the timeout. A task that was
   * not admitted is taken in whatever the bounds say: it was accepted before.
   */
  seat(candidate: Candidate, { onPosition, timeoutMs }: SeatOptions): Promise<Seat | undefined> {
    const { signal } = candidate;
    if (signal.aborted) return Promise.reject(signal.reason);
    const entry = this.#enter(candidate);
    const { held } = entry;
    if (held) {
      entry.held = undefined;
      return Promise.resolve(held);
    }
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const end = () => {
        cancelTimer();
        signal.removeEventListener('abort', abort);
        entry.waiter = undefined;
      };
      const refuse = (error: RbeeError) => {
        end();
        reject(error);
        this.leave(candidate);
      };
      const abort = () => refuse(signal.reason as RbeeError);
      const waiter: Waiter = {
        onPosition,
        since: clock.monotonic(),
        waitsFor: [],
        resolve: (seat) => {
          end();
          resolve(seat);
        },
      };
      const giveUp = () => refuse(allSlotsBusy(this.#countAt(waiter.waitsFor), clock.monotonic() - waiter.since));
      const cancelTimer = clock.after(timeoutMs, giveUp);
      signal.addEventListener('abort', abort, { once: true });
      entry.waiter = waiter;
      this.settle();
    });
  }

  /**
   * Does what a waiting task needs to get a slot, such as starting a worker. Resolves with its result; or with `undefined` when a
   * slot became free elsewhere meanwhile, upon which the work's signal is aborted.
   */
  async unlessSeated<T>(candidate: Candidate, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const entry = this.#enter(candidate);
    if (entry.held) return undefined;
    const early = new AbortController();
    entry.onHeld = () => early.abort(new Error('a slot became free elsewhere'));
    try {
      return await work(AbortSignal.any([candidate.signal, early.signal]));
    } catch (error) {
      // Whatever the work failed with: the task has its slot.
      if (entry.held && !candidate.signal.aborted) return undefined;
      throw error;
    } finally {
      entry.onHeld = undefined;
    }
  }

  /** Lets a task go, with a slot that is held for it; one that it has taken is given back by its lease. */
  leave(candidate: Candidate): void {
    const entry = this.#entries.get(candidate);
    if (!entry) return;
    this.#entries.delete(candidate);
    this.#waiting.delete(entry);
    const { held } = entry;
    entry.held = undefined;
    if (held) held.lease.release();
    else this.settle();
  }

  /** Gives free slots to those whose turn it is; to be called after every change of workers. */
  settle(): void {
    this.#counts.forgetGone(this.#options.hasWorker);
    // Whoever is told something may change the queue upon it.
    this.#again = true;
    if (this.#settling) return;
    this.#settling = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#settleOnce();
      }
    } finally {
      this.#settling = false;
    }
  }

  /** Makes sure that a task stands in the queue, with what it wants now. */
  #enter(candidate: Candidate): Entry {
    const { client, ticket, wanted } = candidate;
    let entry = this.#entries.get(candidate);
    if (!entry) {
      entry = {
        candidate,
        client,
        ticket,
        priority: candidate.request.priority,
        sinceMs: this.#options.clock.monotonic(),
        again: false,
        wanted,
        claim: this.#claims.of(wanted),
        held: undefined,
        told: Number.POSITIVE_INFINITY,
        etaMs: undefined,
        waiter: undefined,
        onHeld: undefined,
      };
      this.#entries.set(candidate, entry);
      const leave = () => this.leave(candidate);
      candidate.ended.then(leave, leave);
    }
    if (entry.held) return entry;
    entry.wanted = wanted;
    entry.claim = this.#claims.of(wanted);
    this.#waiting.add(entry);
    return entry;
  }

  #order(): Entry[] {
    const { clock, ageingMs } = this.#options;
    return fairOrder([...this.#waiting], { nowMs: clock.monotonic(), ageingMs, lastServed: this.#served.all });
  }

  #look(): Placer {
    return this.#options.look(this.#usage);
  }

  #settleOnce(): void {
    if (this.#waiting.size === 0) {
      // Whoever comes back to wait brings its claim anew.
      this.#claims.clear();
      return;
    }
    const ahead = new ClaimTally();
    // All who want the same are placed together. Slots that are taken meanwhile make only those wrong who found a free one.
    const outcomes = new Map<Claim, Outcome>();
    const placer = this.#look();
    for (const entry of this.#order()) {
      // It may have left upon something that another one was told.
      if (!this.#waiting.has(entry)) continue;
      const { claim, wanted } = entry;
      let outcome = outcomes.get(claim);
      if (!outcome) {
        outcome = this.#toOutcome(placer.place(wanted));
        outcomes.set(claim, outcome);
      }
      const { placement, jobsPerMs } = outcome;
      if (placement.action === 'use') {
        this.#grant(entry, placement);
        for (const [each, { placement }] of outcomes) if (placement.action === 'use') outcomes.delete(each);
        continue;
      }
      if (placement.action === 'wait') this.#keepWaiting(entry, ahead.rivalsOf(claim) + 1, placement, jobsPerMs);
      else entry.waiter?.resolve(undefined);
      ahead.add(claim);
    }
  }

  #toOutcome(placement: Placement): Outcome {
    return { placement, jobsPerMs: placement.action === 'wait' ? this.#rateOf(placement.workers) : undefined };
  }

  #rateOf(workers: readonly WaitedFor[]): number | undefined {
    return serviceRate(workers.map(({ id, slots }) => ({ slots, meanMs: this.#counts.meanMs(id) })));
  }

  #grant(entry: Entry, { node, worker, reason }: Extract<Placement, { action: 'use' }>): void {
    this.#waiting.delete(entry);
    if (!entry.again) this.#served.note(entry.client);
    entry.again = true;
    entry.etaMs = undefined;
    const seat = { node, workerId: worker, reason, lease: this.#counts.lend(worker, () => this.settle()) };
    if (entry.waiter) {
      entry.waiter.resolve(seat);
      return;
    }
    entry.held = seat;
    entry.onHeld?.();
  }

  #keepWaiting(
    entry: Entry,
    position: number,
    { workers, reason }: Extract<Placement, { action: 'wait' }>,
    jobsPerMs: number | undefined,
  ): void {
    entry.etaMs = estimateWait(position, jobsPerMs);
    const { waiter } = entry;
    if (!waiter) return;
    waiter.waitsFor = workers;
    if (position >= entry.told) return;
    entry.told = position;
    waiter.onPosition({ position, etaMs: entry.etaMs, reason });
  }

  #checkBounds(client: string): void {
    const { queueLength } = this.#options;
    const waiting = [...this.#waiting];
    const shortest = (entries: readonly Entry[]) =>
      entries.reduce<number | undefined>(
        (least, { etaMs }) => (etaMs === undefined || (least ?? etaMs) < etaMs ? least : etaMs),
        undefined,
      );
    if (waiting.length >= queueLength) {
      const details = { bound: 'queue', waiting: waiting.length, limit: queueLength };
      throw queueFull(countWaiting(waiting.length), details, shortest(waiting));
    }
    const own = waiting.filter((entry) => entry.client === client);
    const share = Math.max(1, Math.floor(queueLength / 2));
    if (own.length < share) return;
    const details = { bound: 'client', client, waiting: own.length, limit: share };
    throw queueFull(`${countWaiting(own.length, ' of the same client')}, half of all places`, details, shortest(own));
  }

  #checkDeadline(entry: Entry, workers: readonly WaitedFor[]): void {
    const { candidate, claim } = entry;
    if (candidate.deadline === undefined) return;
    const ahead = new ClaimTally();
    for (const other of this.#order()) {
      if (other === entry) break;
      ahead.add(other.claim);
    }
    const position = ahead.rivalsOf(claim) + 1;
    const etaMs = estimateWait(position, this.#rateOf(workers));
    const remainingMs = candidate.deadline - this.#options.clock.now();
    if (etaMs === undefined || etaMs <= remainingMs) return;
    this.leave(candidate);
    throw deadlineUnreachable(position, etaMs, remainingMs);
  }

  #countAt(workers: readonly WaitedFor[]): WaitedFor[] {
    return workers.map((worker) => ({ ...worker, busy: this.usage(worker.id).inFlight }));
  }
}

interface Outcome {
  readonly placement: Placement;
  /** How fast those that the task waits for serve. */
  readonly jobsPerMs: number | undefined;
}
