import { type Clock, callJson, type Target, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, workerRoutes } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import { type Placement, placeTask } from '../placement/place-task.js';
import type { NodeView } from '../placement/snapshot.js';
import type { SlotLease, WorkerSlots } from '../worker/worker-slots.js';
import type { Waiting, WorkerStarts } from '../worker/worker-starts.js';
import { diagnoseLoss } from './diagnose-loss.js';
import { dispatch } from './dispatch.js';
import { relay } from './relay.js';
import type { Task } from './task.js';
import type { TaskOutput } from './task-output.js';

/** How often a task is placed anew before it gives up; each time something has changed under its feet. */
const MOST_PLACEMENTS = 20;
/** How often a worker may be lost before the first token without the client noticing. */
const MOST_LOSSES = 1;

export interface TaskRunnerOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly nodes: Nodes;
  readonly slots: WorkerSlots;
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

  /** Throws what is known before any work begins: NODE_NOT_FOUND, NO_NODE_FITS, QUEUE_FULL. */
  admit(task: Task): void {
    const { slots, starts } = this.#options;
    const placement = this.#place(task);
    if (placement.action === 'refuse') throw placement.error;
    if (placement.action === 'wait') slots.checkQueue(placement.worker);
    if (placement.action === 'join') starts.checkCrowd(placement.start);
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
    task.narrate({
      actor: 'queen-rbee',
      action: 'task_accepted',
      target: id,
      human: `accepted the task: inference with ${request.model}${request.node ? ` on ${request.node}` : ''}`,
    });
    // RBEE_NO_RETRY leaves every attempt at one.
    const mostLosses = this.#options.variables.RBEE_NO_RETRY ? 0 : MOST_LOSSES;
    const waitUntil = this.#options.clock.monotonic() + this.#options.timeouts.slot_wait;
    for (let losses = 0, round = 1; ; round++) {
      try {
        const seat = await this.#findSeat(task, output, waitUntil);
        if (seat && (await this.#runAt(seat, task, output))) return;
      } catch (error) {
        // The first reason counts: what fails after an abort fails because of it.
        if (signal.aborted) throw signal.reason;
        if (!mayGoElsewhere(error) || task.tokensOut > 0) throw error;
        if (isLoss(error) && losses++ >= mostLosses) throw error;
        if (round >= MOST_PLACEMENTS) throw error;
        task.narrate({
          actor: 'queen-rbee',
          action: 'retry',
          target: id,
          level: 'warn',
          human: `placing the task anew: ${error.message}`,
        });
      }
      if (round >= MOST_PLACEMENTS) throw toRestlessError(round);
    }
  }

  #place(task: Task): Placement {
    return placeTask(task.wanted, this.#snapshot());
  }

  #snapshot(): NodeView[] {
    const { nodes, slots, starts } = this.#options;
    return nodes.all().map((node) => ({ ...node.view((id) => slots.usage(id)), starting: starts.pending(node.name) }));
  }

  /** One step towards a slot: takes one, or changes the state of things so that the next placement finds more. */
  async #findSeat(task: Task, output: TaskOutput, waitUntil: number): Promise<Seat | undefined> {
    const { nodes, starts } = this.#options;
    task.signal.throwIfAborted();
    const placement = this.#place(task);
    if (placement.action === 'refuse') throw placement.error;
    const node = nodes.get(placement.node);
    const waiting: Waiting = { correlationId: task.correlationId, signal: task.signal, listener: task };
    let workerId: string | undefined;
    switch (placement.action) {
      case 'start_hive':
        await node.provideHive(task.narrate, task.signal);
        return undefined;
      case 'start_worker':
        workerId = await starts.start(node, task.wanted, waiting);
        task.freshWorkers.add(workerId);
        break;
      case 'follow':
        workerId = await starts.follow(node, placement.worker, waiting);
        task.freshWorkers.add(workerId);
        break;
      case 'join':
        workerId = await starts.join(placement.start, waiting);
        if (workerId === undefined) return undefined;
        task.freshWorkers.add(workerId);
        break;
      default:
        workerId = placement.worker;
    }
    const lease = await this.#takeSlot(task, output, workerId, placement.reason, waitUntil);
    this.#announce(task, output, node, workerId, placement.reason);
    return { node, workerId, lease };
  }

  #takeSlot(task: Task, output: TaskOutput, workerId: string, reason: string, waitUntil: number): Promise<SlotLease> {
    const { slots, clock } = this.#options;
    return slots.take(workerId, {
      signal: task.signal,
      timeoutMs: Math.max(0, waitUntil - clock.monotonic()),
      ticket: task.ticket,
      onPosition: ({ position, etaMs }) => {
        if (position >= task.bestPosition) return;
        task.bestPosition = position;
        output.tell({ type: 'queued', position, eta_ms: etaMs, reason });
      },
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

  /** Resolves with true when the job has ended there with a terminal event. */
  async #runAt(seat: Seat, task: Task, output: TaskOutput): Promise<boolean> {
    const { clock, timeouts, variables } = this.#options;
    const { node, workerId, lease } = seat;
    const startedAt = clock.monotonic();
    let target: Target | undefined;
    let accepted = false;
    try {
      target = await node.reachWorker(workerId, { correlationId: task.correlationId, signal: task.signal });
      const deadline = task.deadline ?? clock.now() + timeouts.inference;
      const stream = await dispatch(task, { clock, timeouts, variables, workerId, target, deadline });
      accepted = true;
      task.limit(clock.now() + timeouts.inference);
      output.accept();
      const { kind } = await relay(stream, task, output, { clock, timeouts, workerId });
      const duration_ms = Math.round(clock.monotonic() - startedAt);
      task.log.info({ worker_id: workerId, tokens_out: task.tokensOut, duration_ms }, `the task ended with ${kind}`);
      return true;
    } catch (error) {
      if (task.signal.aborted) {
        if (target) await this.#cancelAt(target, task);
        throw task.signal.reason;
      }
      throw await this.#explain(error, seat, task, target, accepted);
    } finally {
      lease.release();
    }
  }

  /** Tells the worker to give the job up, so that its slot is free before the client hears the end. */
  async #cancelAt(target: Target, task: Task): Promise<void> {
    const { cancel_ack } = this.#options.timeouts;
    try {
      await callJson(target, workerRoutes.cancel, {
        params: { request_id: task.id },
        correlationId: task.correlationId,
        timeoutMs: cancel_ack,
      });
    } catch (error) {
      task.log.warn(
        { error_code: isRbeeError(error) ? error.code : 'INTERNAL_ERROR' },
        `a worker did not confirm the cancellation: ${error}`,
      );
    }
  }

  /** What a failure at a worker means for the task; a worker that cannot serve it is not asked again. */
  async #explain(
    error: unknown,
    seat: Seat,
    task: Task,
    target: Target | undefined,
    accepted: boolean,
  ): Promise<unknown> {
    const { node, workerId } = seat;
    if (!isRbeeError(error)) return error;
    if (error.code === 'WORKER_DRAINING' || error.code === 'WORKER_NOT_READY' || error.code === 'WORKER_NOT_FOUND') {
      task.excluded.add(workerId);
      if (error.code === 'WORKER_NOT_FOUND') node.forgetWorker(workerId);
      return error;
    }
    if (error.code === 'CANCELLED' && accepted) {
      task.excluded.add(workerId);
      return new RbeeError('WORKER_DRAINING', `worker ${workerId} gave the job up`, {
        details: { worker_id: workerId },
        cause: error,
      });
    }
    if (!target || !(error.code === 'WORKER_CONNECTION_LOST' || error.code === 'CONNECTION_TIMEOUT')) return error;
    const { correlationId, tokensOut } = task;
    const loss = await diagnoseLoss({ node, target, workerId, tokensOut, correlationId, cause: error });
    if (loss.code === 'WORKER_CRASHED') {
      task.excluded.add(workerId);
      node.forgetWorker(workerId);
      task.narrate({
        actor: 'queen-rbee',
        action: 'worker_crash',
        target: workerId,
        worker_id: workerId,
        level: 'warn',
        error_kind: 'worker_crash',
        human: `the worker ended after ${tokensOut} tokens`,
      });
    } else {
      // It may still be at work on the job, under an id that the next attempt needs.
      await this.#cancelAt(target, task);
    }
    return loss;
  }
}

function isLoss(error: RbeeError): boolean {
  return (
    error.code === 'WORKER_CRASHED' || error.code === 'WORKER_CONNECTION_LOST' || error.code === 'CONNECTION_TIMEOUT'
  );
}

/** Whether another worker, or the same node looked at afresh, may succeed where this attempt failed. */
function mayGoElsewhere(error: unknown): error is RbeeError {
  if (!isRbeeError(error)) return false;
  return isLoss(error) || /^WORKER_(DRAINING|NOT_READY|NOT_FOUND)$/.test(error.code);
}

function toRestlessError(rounds: number): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', `no worker kept the task: it was placed ${rounds} times`, {
    suggestion: 'look at the logs of the node: rbee-keeper logs --node localhost',
  });
}
