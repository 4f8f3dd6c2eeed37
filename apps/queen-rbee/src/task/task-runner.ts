import { type Clock, orAborted, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import type { Placement } from '../placement/place-task.js';
import type { SlotLease } from '../queue/slot-counts.js';
import type { Seat as QueueSeat, TaskQueue } from '../queue/task-queue.js';
import type { Waiting, WorkerStarts } from '../worker/worker-starts.js';
import { isNodeTrouble, NodeFailure } from './failures.js';
import { Recovery } from './recovery.js';
import { runAtWorker } from './run-at-worker.js';
import type { Task } from './task.js';
import type { TaskOutput } from './task-output.js';

export interface TaskRunnerOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly nodes: Nodes;
  readonly queue: TaskQueue;
  readonly starts: WorkerStarts;
}

/** A worker with a slot on it that is the task's. */
interface Seat {
  readonly node: LiveNode;
  readonly workerId: string;
  readonly lease: SlotLease;
}

/** Brings a task to its end: finds it a worker, sends it there, passes the answer on. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
  }

  /** Throws what is known before any work begins: NODE_NOT_FOUND, NO_NODE_FITS, QUEUE_FULL, DEADLINE_UNREACHABLE. */
  async admit(task: Task): Promise<void> {
    const { nodes, queue } = this.#options;
    // A task that may go anywhere waits a moment for machines that are just being met.
    if (task.request.node === undefined) await orAborted(nodes.look(nodes.all()), task.signal);
    queue.admit(task);
  }

  /** Runs an admitted task. Resolves once its terminal event was relayed; throws the error that ends it otherwise. */
  async run(task: Task, output: TaskOutput): Promise<void> {
    const { id, request, correlationId, signal } = task;
    task.output = output;
    output.tell({
      type: 'accepted',
      job_id: id,
      correlation_id: correlationId,
      node: request.node,
      model: request.model,
    });
    const what = `inference with ${request.model}${request.node ? ` on ${request.node}` : ''}`;
    task.narrate({
      actor: 'queen-rbee',
      action: task.recovered ? 'task_recovered' : 'task_accepted',
      target: id,
      human: task.recovered ? `the queen was started anew: going on with ${what}` : `accepted the task: ${what}`,
    });
    const recovery = new Recovery(task, this.#options);
    if (task.tokensOut > 0) recovery.takeOver();
    for (;;) {
      recovery.countPlacement();
      try {
        const seat = await this.#findSeat(task, output);
        if (seat) return await this.#runAt(seat, task, output);
      } catch (error) {
        // The first reason counts: what fails after an abort fails because of it.
        if (signal.aborted) throw signal.reason;
        await recovery.recoverFrom(error);
      }
    }
  }

  #place(task: Task): Placement {
    return this.#options.queue.place(task.wanted);
  }

  /** One step towards a slot: takes one, or changes the state of things so that the next placement finds more. */
  async #findSeat(task: Task, output: TaskOutput): Promise<Seat | undefined> {
    const { nodes, queue } = this.#options;
    task.signal.throwIfAborted();
    const placement = this.#place(task);
    if (placement.action === 'refuse') throw placement.error;
    this.#tellPlace(task, placement);
    if (placement.action !== 'start_hive') task.wasPlaced = true;
    if (placement.action !== 'use' && placement.action !== 'wait') {
      const fresh = await queue.unlessSeated(task, (signal) => this.#provideWorker(task, placement, signal));
      if (fresh !== undefined) task.freshWorkers.add(fresh);
    }
    const seat = await this.#takeSlot(task, output);
    if (!seat) return undefined;
    const { workerId, reason, lease } = seat;
    try {
      const node = nodes.find(seat.node);
      if (node) {
        this.#tellPlace(task, seat);
        this.#announce(task, output, node, workerId, reason);
        return { node, workerId, lease };
      }
    } catch (error) {
      // Nobody else would give it back.
      lease.release();
      throw error;
    }
    // The node was removed in this very moment.
    lease.release();
    return undefined;
  }

  /** Makes a worker come up that the task can wait for. Resolves with its id, if it is known. */
  async #provideWorker(
    task: Task,
    placement: Extract<Placement, { action: 'start_hive' | 'start_worker' | 'follow' | 'join' }>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { nodes, starts } = this.#options;
    const node = nodes.get(placement.node);
    const waiting: Waiting = { correlationId: task.correlationId, signal, listener: task };
    switch (placement.action) {
      case 'start_hive':
        await this.#at(node, () => node.provideHive(task.narrate, signal));
        return undefined;
      case 'start_worker':
        return this.#at(node, () => starts.start(node, task.wanted, waiting));
      case 'follow':
        return starts.follow(node, placement.worker, waiting);
      case 'join':
        return starts.join(placement.start, waiting);
    }
  }

  /** Notes which node a failure belongs to. */
  async #at<T>(node: LiveNode, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw isRbeeError(error) && isNodeTrouble(error) ? new NodeFailure(node, error) : error;
    }
  }

  /** Says where a task goes that may go anywhere, and why. */
  #tellPlace(task: Task, { node, reason }: { readonly node: string; readonly reason: string }): void {
    if (task.request.node !== undefined || this.#options.nodes.all().length < 2 || task.placedOn === node) return;
    task.placedOn = node;
    task.narrate({
      actor: 'queen-rbee',
      action: 'task_placed',
      target: node,
      human: `placing the task on ${node}: ${reason}`,
    });
  }

  async #runAt({ node, workerId, lease }: Seat, task: Task, output: TaskOutput): Promise<void> {
    const { clock, timeouts, variables } = this.#options;
    let leaving: Promise<unknown> | undefined;
    const afterwards = (work: Promise<unknown>) => {
      leaving = work;
    };
    try {
      await runAtWorker(task, output, { clock, timeouts, variables, node, workerId, afterwards });
    } finally {
      if (leaving) {
        leaving
          .catch((error: unknown) => task.log.error({ error, worker_id: workerId }, 'a job could not be taken back'))
          .finally(() => lease.release());
      } else lease.release();
    }
  }

  #takeSlot(task: Task, output: TaskOutput): Promise<QueueSeat | undefined> {
    const { queue, clock, timeouts } = this.#options;
    // One limit for all the time that the task waits.
    task.waitsUntilMs ??= clock.monotonic() + timeouts.slot_wait;
    return queue.seat(task, {
      timeoutMs: Math.max(0, task.waitsUntilMs - clock.monotonic()),
      onPosition: ({ position, etaMs, reason }) => output.tell({ type: 'queued', position, eta_ms: etaMs, reason }),
    });
  }

  #announce(task: Task, output: TaskOutput, node: LiveNode, workerId: string, reason: string): void {
    const worker = node.worker(workerId);
    if (!worker) return;
    const reused = !task.freshWorkers.has(workerId);
    task.narrate({
      actor: 'queen-rbee',
      action: 'worker_assigned',
      target: workerId,
      worker_id: workerId,
      device: `${worker.backend}:${worker.device}`,
      human: `sending the task to a ${reused ? 'running' : 'new'} worker on ${node.name}${reused ? `: ${reason}` : ''}`,
    });
    const { url, state } = worker;
    output.tell({ type: 'worker', worker_id: workerId, node: node.name, url, state, reused });
  }
}
