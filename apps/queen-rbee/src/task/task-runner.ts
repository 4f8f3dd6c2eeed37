import { type Clock, orAborted, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import { type Placement, placeTask } from '../placement/place-task.js';
import type { NodeView } from '../placement/snapshot.js';
import type { SlotLease, WorkerSlots } from '../worker/worker-slots.js';
import type { Waiting, WorkerStarts } from '../worker/worker-starts.js';
import { runAtWorker } from './run-at-worker.js';
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
  async admit(task: Task): Promise<void> {
    const { nodes, slots, starts } = this.#options;
    // A task that may go anywhere waits a moment for machines that are just being met.
    if (task.request.node === undefined) await orAborted(nodes.look(nodes.all()), task.signal);
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
    for (let losses = 0, round = 1; ; round++) {
      try {
        const seat = await this.#findSeat(task, output);
        if (seat) return await this.#runAt(seat, task, output);
      } catch (error) {
        // The first reason counts: what fails after an abort fails because of it.
        if (signal.aborted) throw signal.reason;
        if (task.tokensOut > 0) throw error;
        if (this.#excludeNode(task, error)) continue;
        if (!mayGoElsewhere(error)) throw error;
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
  async #findSeat(task: Task, output: TaskOutput): Promise<Seat | undefined> {
    const { nodes, starts } = this.#options;
    task.signal.throwIfAborted();
    const placement = this.#place(task);
    if (placement.action === 'refuse') throw placement.error;
    const node = nodes.get(placement.node);
    this.#tellPlace(task, placement);
    const waiting: Waiting = { correlationId: task.correlationId, signal: task.signal, listener: task };
    let workerId: string | undefined;
    switch (placement.action) {
      case 'start_hive':
        await this.#at(node, () => node.provideHive(task.narrate, task.signal));
        return undefined;
      case 'start_worker':
        workerId = await this.#at(node, () => starts.start(node, task.wanted, waiting));
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
    const lease = await this.#takeSlot(task, output, workerId, placement.reason);
    this.#announce(task, output, node, workerId, placement.reason);
    return { node, workerId, lease };
  }

  /** Notes which node a failure belongs to. */
  async #at<T>(node: LiveNode, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw isRbeeError(error) && isNodeTrouble(error) ? new NodeFailure(node, error) : error;
    }
  }

  /** Leaves out a node that cannot serve a task which may go elsewhere, if there is another one to try. */
  #excludeNode(task: Task, error: unknown): boolean {
    if (!(error instanceof NodeFailure)) return false;
    const { node, reason } = error;
    task.excludedNodes.set(node.name, reason.message);
    const next = task.request.node === undefined ? this.#place(task) : undefined;
    if (!next || next.action === 'refuse') {
      // With a single machine there is nothing to compare: what failed says it best.
      throw next?.action === 'refuse' && task.excludedNodes.size > 1 ? next.error : reason;
    }
    task.narrate({
      actor: 'queen-rbee',
      action: 'retry',
      target: task.id,
      level: 'warn',
      human: `${node.name} cannot take the task: ${reason.message}`,
    });
    return true;
  }

  /** Says where a task goes that may go anywhere, and why. */
  #tellPlace(task: Task, placement: Exclude<Placement, { action: 'refuse' }>): void {
    const { node, reason } = placement;
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
    try {
      await runAtWorker(task, output, { clock, timeouts, variables, node, workerId });
    } finally {
      lease.release();
    }
  }

  #takeSlot(task: Task, output: TaskOutput, workerId: string, reason: string): Promise<SlotLease> {
    const { slots, clock, timeouts } = this.#options;
    // One limit for all queues that the task stands in.
    task.waitsUntilMs ??= clock.monotonic() + timeouts.slot_wait;
    return slots.take(workerId, {
      signal: task.signal,
      timeoutMs: Math.max(0, task.waitsUntilMs - clock.monotonic()),
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
}

/** What a node failed with, while the task had not begun there. */
class NodeFailure extends Error {
  constructor(
    readonly node: LiveNode,
    readonly reason: RbeeError,
  ) {
    super(reason.message, { cause: reason });
  }
}

/** Whether an error is about the node rather than about the task: another node may well succeed. */
function isNodeTrouble(error: RbeeError): boolean {
  const { code, details } = error;
  return (
    // It was tried as often as it may be.
    (code === 'CONNECTION_TIMEOUT' && details.attempts !== undefined) ||
    (code.startsWith('SSH_') && !isBrokenOff(error)) ||
    /^(HIVE_|INSUFFICIENT_|VRAM_|GPU_|BACKEND_)/.test(code) ||
    /^(VERSION_MISMATCH|INVALID_RESPONSE|INVALID_API_KEY|MISSING_API_KEY)$/.test(code) ||
    /^(OUT_OF_MEMORY|CUDA_DEVICE_FAILED|INVALID_DEVICE|DISK_FULL)$/.test(code) ||
    /^(WORKER_BINARY_NOT_FOUND|NO_FREE_PORT|CATALOG_UNAVAILABLE)$/.test(code)
  );
}

function isLoss(error: RbeeError): boolean {
  return /^(WORKER_CRASHED|WORKER_CONNECTION_LOST|CONNECTION_TIMEOUT)$/.test(error.code) || isBrokenOff(error);
}

/** Whether a connection ended that had stood, without going silent first: it may well come about again at once. */
function isBrokenOff({ code, details, retryable }: RbeeError): boolean {
  if (code !== 'SSH_CONNECTION_TIMEOUT' || !retryable) return false;
  return details.attempts === undefined && details.cause !== 'ETIMEDOUT';
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
