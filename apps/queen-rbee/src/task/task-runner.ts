import { type Clock, orAborted, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import type { Placement } from '../placement/place-task.js';
import type { SlotLease } from '../queue/slot-counts.js';
import type { Seat as QueueSeat, TaskQueue } from '../queue/task-queue.js';
import type { Waiting, WorkerStarts } from '../worker/worker-starts.js';
import { Attempts } from './attempts.js';
import { findResumeObstacle, isResumeWanted, resumeImpossible } from './resume.js';
import { runAtWorker } from './run-at-worker.js';
import type { Task } from './task.js';
import type { TaskOutput } from './task-output.js';
import { WorkerLost } from './worker-lost.js';

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

/** What has happened to a task on its way. */
interface Trail {
  readonly attempts: Attempts;
  /** Why it left the worker that sent its last token. */
  loss: RbeeError | undefined;
  /** Whether the node of that worker was waited for. */
  waited: boolean;
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
    task.narrate({
      actor: 'queen-rbee',
      action: 'task_accepted',
      target: id,
      human: `accepted the task: inference with ${request.model}${request.node ? ` on ${request.node}` : ''}`,
    });
    const attempts = new Attempts(!this.#options.variables.RBEE_NO_RETRY);
    const trail: Trail = { attempts, loss: undefined, waited: false };
    if (task.tokensOut > 0) this.#takeOver(task, trail);
    for (;;) {
      if (!attempts.place(task.tokensOut)) throw toRestlessError(trail.loss);
      try {
        const seat = await this.#findSeat(task, output);
        if (seat) return await this.#runAt(seat, task, output);
      } catch (error) {
        // The first reason counts: what fails after an abort fails because of it.
        if (signal.aborted) throw signal.reason;
        if (task.tokensOut > 0) await this.#goOnAfter(error, task, trail);
        else this.#beginAnewAfter(error, task, trail);
      }
    }
  }

  /** Begins where a queen that is gone has ended. */
  #takeOver(task: Task, trail: Trail): void {
    const { delivered, tokensOut } = task;
    delivered.from ??= task.assigned;
    const details = { worker_id: delivered.from?.workerId, node: delivered.from?.node, tokens_out: tokensOut };
    trail.loss = new RbeeError(
      'WORKER_CONNECTION_LOST',
      `the queen that had the task ended after ${tokensOut} tokens`,
      {
        details,
        suggestion: 'repeat the request',
      },
    );
    this.#checkResume(task, trail.loss);
  }

  /** Throws the loss when the answer cannot go on elsewhere, with the reason if it was wanted to. */
  #checkResume(task: Task, loss: RbeeError): void {
    if (!isResumeWanted(task, this.#options.variables)) throw loss;
    const obstacle = findResumeObstacle(task);
    if (obstacle !== undefined) throw resumeImpossible(loss, obstacle);
  }

  /** Returns when a task of which nothing has gone out may be placed once more; throws the error that ends it otherwise. */
  #beginAnewAfter(error: unknown, task: Task, { attempts }: Trail): void {
    if (this.#excludeNode(task, error)) return;
    const reason = error instanceof WorkerLost ? error.reason : error;
    if (!isRbeeError(reason) || !(error instanceof WorkerLost || mayGoElsewhere(reason))) throw error;
    // A worker that takes its time is left only where the whole answer may go elsewhere.
    if (reason.code === 'INFERENCE_TIMEOUT' && !task.request.resume) throw reason;
    if ((error instanceof WorkerLost || isLoss(reason)) && !attempts.lose(0)) throw reason;
    task.narrate({
      actor: 'queen-rbee',
      action: 'retry',
      target: task.id,
      level: 'warn',
      human: `placing the task anew: ${reason.message}`,
    });
  }

  /** Returns when a task may be placed once more and go on behind its last token; throws the error that ends it otherwise. */
  async #goOnAfter(error: unknown, task: Task, trail: Trail): Promise<void> {
    const { attempts } = trail;
    if (error instanceof WorkerLost) {
      trail.loss = error.reason;
      trail.waited = false;
      this.#checkResume(task, error.reason);
    }
    const reason = error instanceof WorkerLost || error instanceof NodeFailure ? error.reason : error;
    if (!isRbeeError(reason)) throw error;
    trail.loss ??= reason;
    const { loss } = trail;
    if ((error instanceof WorkerLost || isLoss(reason)) && !attempts.lose(task.tokensOut)) {
      throw resumeImpossible(loss, `the task has lost ${attempts.losses} workers`);
    }
    if (error instanceof WorkerLost || mayGoElsewhere(reason)) {
      this.#tellLeft(task, reason);
      if (!this.#mayReach(task) && !(await this.#awaitNode(task, trail))) {
        throw resumeImpossible(loss, `${task.wanted.node} cannot be reached any more`);
      }
      return;
    }
    if (this.#excludeNodeQuietly(task, error) || (await this.#awaitNode(task, trail))) return;
    throw resumeImpossible(loss, reason.message);
  }

  #tellLeft(task: Task, { code, details }: RbeeError): void {
    const workerId = String(details.worker_id ?? task.delivered.from?.workerId ?? task.id);
    task.narrate({
      actor: 'queen-rbee',
      action: 'task_resume',
      target: workerId,
      worker_id: workerId,
      level: 'warn',
      human: `${WHY_LEFT[code] ?? 'the worker was lost'} after ${task.tokensOut} tokens: going on with another one`,
    });
  }

  /** Whether the node is there that alone can serve a task, if there is such a node. */
  #mayReach(task: Task): boolean {
    const { node } = task.wanted;
    return node === undefined || this.#options.nodes.find(node)?.standing.status !== 'unreachable';
  }

  /** Gives the node on which the answer came to be a moment to come back, once after each loss; resolves with whether it has. */
  async #awaitNode(task: Task, trail: Trail): Promise<boolean> {
    const { nodes, clock, timeouts } = this.#options;
    const node = nodes.find(task.wanted.node ?? task.delivered.from?.node ?? '');
    if (!node || trail.waited || node.standing.hive === 'running') return false;
    trail.waited = true;
    const isThere = node.provideHive(task.narrate, task.signal).then(() => true);
    try {
      return await withTimeout(clock, timeouts.connect, isThere, () => new Error(`${node.name} does not come back`));
    } catch (error) {
      task.signal.throwIfAborted();
      task.log.warn({ node: node.name, reason: (error as Error).message }, 'the node of a lost worker is not there');
      return false;
    }
  }

  /** As `#excludeNode`, but says no where that throws. */
  #excludeNodeQuietly(task: Task, error: unknown): boolean {
    try {
      return this.#excludeNode(task, error);
    } catch (refusal) {
      if (!isRbeeError(refusal)) throw refusal;
      return false;
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
    if (placement.action !== 'use' && placement.action !== 'wait') {
      const fresh = await queue.unlessSeated(task, (signal) => this.#provideWorker(task, placement, signal));
      if (fresh !== undefined) task.freshWorkers.add(fresh);
    }
    const seat = await this.#takeSlot(task, output);
    if (!seat) return undefined;
    const { workerId, reason, lease } = seat;
    const node = nodes.find(seat.node);
    if (!node) {
      // It was removed in this very moment.
      lease.release();
      return undefined;
    }
    this.#tellPlace(task, seat);
    this.#announce(task, output, node, workerId, reason);
    return { node, workerId, lease };
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

  /** Leaves out a node that cannot serve a task which may go elsewhere, if there is another one to try. */
  #excludeNode(task: Task, error: unknown): boolean {
    if (!(error instanceof NodeFailure)) return false;
    const { node, reason } = error;
    task.excludedNodes.set(node.name, reason.message);
    const next = task.wanted.node === undefined ? this.#place(task) : undefined;
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

/** What became of the worker that a task has left, in words. */
const WHY_LEFT: Readonly<Record<string, string>> = {
  WORKER_CRASHED: 'the worker ended',
  WORKER_CONNECTION_LOST: 'the connection to the worker broke',
  INFERENCE_TIMEOUT: 'the worker stands still',
  INVALID_RESPONSE: 'the worker does not keep to the protocol',
  WORKER_DRAINING: 'the worker shuts down',
};

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
export function isNodeTrouble(error: RbeeError): boolean {
  const { code, details } = error;
  return (
    // It was tried as often as it may be.
    (code === 'CONNECTION_TIMEOUT' && details.attempts !== undefined) ||
    (code.startsWith('SSH_') && !isBrokenOff(error)) ||
    /^(HIVE_|INSUFFICIENT_|VRAM_|GPU_|BACKEND_)/.test(code) ||
    // It runs as many workers as it may.
    (code === 'WORKER_SPAWN_FAILED' && details.limit !== undefined) ||
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
function mayGoElsewhere(error: RbeeError): boolean {
  return isLoss(error) || /^(WORKER_(DRAINING|NOT_READY|NOT_FOUND)|JOB_ALREADY_RUNNING)$/.test(error.code);
}

function toRestlessError(loss: RbeeError | undefined): RbeeError {
  const what = 'no worker kept the task, however often it was placed';
  if (loss) return resumeImpossible(loss, what);
  return new RbeeError('WORKER_CONNECTION_LOST', what, {
    suggestion: 'look at the logs of the node: rbee-keeper logs --node localhost',
  });
}
