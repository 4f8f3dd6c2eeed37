import { type Clock, sleep, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import { isRbeeError, LOCALHOST, RbeeError } from '@rbee/protocol';
import { isHiveLost } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import type { TaskQueue } from '../queue/task-queue.js';
import { Attempts } from './attempts.js';
import { afterTokens } from './diagnose-loss.js';
import { isAway, isHiveOrWayLost, isLoss, mayGoElsewhere, NodeFailure, WorkerLost } from './failures.js';
import { findResumeObstacle, isResumeWanted, resumeImpossible } from './resume.js';
import type { Task } from './task.js';

export interface RecoveryOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** RBEE_NO_RETRY leaves every attempt at one. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly nodes: Nodes;
  readonly queue: TaskQueue;
}

/** Pause between two looks at a machine that has gone. */
const ASK_AGAIN_MS = 200;

/** What became of the worker that a task has left, in words. That one has crashed is told before. */
const WHY_LEFT: Readonly<Record<string, string>> = {
  WORKER_CONNECTION_LOST: 'the connection to the worker broke',
  INFERENCE_TIMEOUT: 'the worker stands still',
  INVALID_RESPONSE: 'the worker does not keep to the protocol',
  WORKER_DRAINING: 'the worker shuts down',
};

/**
 * Decides for one task whether it is placed once more after something has failed on its way. As long as nothing of its answer
 * has gone out, that is simply begun anew; after that it goes on elsewhere behind its last token, or ends with the loss.
 */
export class Recovery {
  readonly #task: Task;
  readonly #options: RecoveryOptions;
  readonly #attempts: Attempts;
  /** Why the task left the worker that sent its last token. */
  #loss: RbeeError | undefined;
  /** Whether the node of that worker was waited for. */
  #waited = false;

  constructor(task: Task, options: RecoveryOptions) {
    this.#task = task;
    this.#options = options;
    this.#attempts = new Attempts(!options.variables.RBEE_NO_RETRY);
  }

  /** Begins where a queen that is gone has ended; throws when the answer cannot go on from there. */
  takeOver(): void {
    const { delivered, tokensOut, assigned } = this.#task;
    delivered.from ??= assigned;
    const details = { worker_id: delivered.from?.workerId, node: delivered.from?.node, tokens_out: tokensOut };
    const message = `the queen that had the task ended ${afterTokens(tokensOut)}`;
    this.#loss = new RbeeError('WORKER_CONNECTION_LOST', message, { details, suggestion: 'repeat the request' });
    this.#checkResume(this.#loss);
  }

  /** To be called before each placement; throws when there were too many that came to nothing. */
  countPlacement(): void {
    if (this.#attempts.place(this.#task.tokensOut)) return;
    const what = 'no worker kept the task, however often it was placed';
    if (this.#loss) throw resumeImpossible(this.#loss, what);
    throw new RbeeError('WORKER_CONNECTION_LOST', what, {
      suggestion: 'look at the logs of the node: rbee-keeper logs --node localhost',
    });
  }

  /** Resolves when the task may be placed once more; throws the error that ends it otherwise. */
  async recoverFrom(error: unknown): Promise<void> {
    if (isRbeeError(error) && error.code === 'REQUEST_TIMEOUT') throw this.#inTheEnd(error);
    if (this.#task.tokensOut > 0) await this.#goOn(error);
    else await this.#beginAnew(error);
  }

  /** A deadline that another process noticed a moment before this one did. */
  #inTheEnd({ message, details, suggestion }: RbeeError): RbeeError {
    return new RbeeError('REQUEST_TIMEOUT', message, {
      details: { ...details, tokens_out: this.#task.tokensOut },
      ...(suggestion === undefined ? {} : { suggestion }),
    });
  }

  async #beginAnew(error: unknown): Promise<void> {
    if (error instanceof NodeFailure) {
      if (this.#mayExcludeNode(error)) return;
      // Something has gone that had been there for the task: a moment for it, as for a task in mid-answer.
      if (this.#task.wasPlaced && isAway(error.reason) && (await this.#awaitNode(error.node))) return;
      this.#excludeNode(error);
    }
    const reason = error instanceof WorkerLost ? error.reason : error;
    if (!isRbeeError(reason) || !(error instanceof WorkerLost || mayGoElsewhere(reason))) throw error;
    // A worker that takes its time is left only where the whole answer may go elsewhere.
    if (reason.code === 'INFERENCE_TIMEOUT' && !this.#task.request.resume) throw reason;
    if (!this.#mayLose(error, reason)) throw this.#afterLosses(error, reason);
    const isTold = error instanceof WorkerLost && reason.code === 'WORKER_CRASHED';
    this.#warn('retry', this.#task.id, `placing the task anew${isTold ? '' : `: ${reason.message}`}`);
  }

  async #goOn(error: unknown): Promise<void> {
    const { wanted } = this.#task;
    const isLost = error instanceof WorkerLost;
    if (isLost) {
      this.#loss = error.reason;
      this.#waited = false;
      this.#checkResume(error.reason);
    }
    const reason = isLost || error instanceof NodeFailure ? error.reason : error;
    if (!isRbeeError(reason)) throw error;
    this.#loss ??= reason;
    if (!this.#mayLose(error, reason)) {
      const { losses, hiveLosses } = this.#attempts;
      const lost = !isLost && isHiveOrWayLost(reason) ? `a hive ${hiveLosses} times in a row` : `${losses} workers`;
      throw resumeImpossible(this.#loss, `the task has lost ${lost}`);
    }
    if (isLost || mayGoElsewhere(reason)) {
      if (isLost || reason.code === 'WORKER_DRAINING') this.#tellLeft(reason);
      else this.#warn('retry', this.#task.id, `placing the task anew: ${reason.message}`);
      if (this.#mayReach() || (await this.#awaitNode())) return;
      throw resumeImpossible(this.#loss, `${wanted.node} cannot be reached any more`);
    }
    if (this.#mayExcludeNode(error) || (await this.#awaitNode())) return;
    throw resumeImpossible(this.#loss, reason.message);
  }

  /** Counts what was lost, if anything was; false when the task may not lose more of it. */
  #mayLose(error: unknown, reason: RbeeError): boolean {
    const { tokensOut } = this.#task;
    const isWorkerLost = error instanceof WorkerLost;
    // A task ends no hives: one that goes tells nothing about it.
    if (!isWorkerLost && isHiveOrWayLost(reason)) return this.#attempts.loseHive(tokensOut);
    return !(isWorkerLost || isLoss(reason)) || this.#attempts.lose(tokensOut);
  }

  /** The last loss, in words that tell how often it happened. */
  #afterLosses(error: unknown, reason: RbeeError): RbeeError {
    const { hiveLosses } = this.#attempts;
    if (error instanceof WorkerLost || !isHiveLost(reason) || hiveLosses < 2) return reason;
    const { code, message, details, retryable } = reason;
    const node = details.node ?? this.#task.wanted.node ?? this.#task.placedOn ?? LOCALHOST;
    return new RbeeError(code, `the hive of ${node} was lost ${hiveLosses} times in a row: ${message}`, {
      details: { ...details, node, losses: hiveLosses },
      suggestion: `look at the hive's log: rbee-keeper logs --node ${node}`,
      retryable,
      cause: reason,
    });
  }

  #tellLeft({ code, details }: RbeeError): void {
    const { id, delivered, tokensOut } = this.#task;
    const workerId = String(details.worker_id ?? delivered.from?.workerId ?? id);
    const why = WHY_LEFT[code] ?? 'the worker was lost';
    const human =
      code === 'WORKER_CRASHED'
        ? 'going on with another worker'
        : `${why} ${afterTokens(tokensOut)}: going on with another one`;
    this.#warn('task_resume', workerId, human, workerId);
  }

  /** Throws the loss when the answer cannot go on elsewhere, with the reason if it was wanted to. */
  #checkResume(loss: RbeeError): void {
    if (!isResumeWanted(this.#task, this.#options.variables)) throw loss;
    const obstacle = findResumeObstacle(this.#task);
    if (obstacle !== undefined) throw resumeImpossible(loss, obstacle);
  }

  /** Whether the node is there that alone can serve the task, if there is such a node. */
  #mayReach(): boolean {
    const { node } = this.#task.wanted;
    return node === undefined || this.#options.nodes.find(node)?.standing.status !== 'unreachable';
  }

  /** Gives a node, else the one on which the answer came to be, a moment to come back, once after each loss; resolves with whether it has. */
  async #awaitNode(failed?: LiveNode): Promise<boolean> {
    const { nodes, clock, timeouts } = this.#options;
    const { wanted, delivered, narrate, signal, log, excludedNodes } = this.#task;
    const node = failed ?? nodes.find(wanted.node ?? delivered.from?.node ?? '');
    if (!node || this.#waited || node.standing.hive === 'running') return false;
    this.#waited = true;
    // As long as a machine may take to let anybody in.
    const end = clock.monotonic() + timeouts.ssh_connect;
    for (;;) {
      const isThere = node.provideHive(narrate, signal).then(() => true);
      const remaining = Math.max(0, end - clock.monotonic());
      try {
        const isBack = await withTimeout(clock, remaining, isThere, () => new Error(`${node.name} does not come back`));
        excludedNodes.delete(node.name);
        return isBack;
      } catch (error) {
        signal.throwIfAborted();
        log.debug({ node: node.name, reason: (error as Error).message }, 'the node of a lost worker is not there');
      }
      if (clock.monotonic() + ASK_AGAIN_MS >= end) return false;
      await sleep(clock, ASK_AGAIN_MS, signal);
    }
  }

  /**
   * Leaves out a node that cannot serve a task which may go elsewhere, if there is another one to try; throws what speaks against
   * all of them otherwise. False for a failure that is not a node's.
   */
  #excludeNode(error: unknown): boolean {
    if (!(error instanceof NodeFailure)) return false;
    const task = this.#task;
    const { node, reason } = error;
    task.excludedNodes.set(node.name, reason.message);
    const next = task.wanted.node === undefined ? this.#options.queue.place(task.wanted) : undefined;
    if (!next || next.action === 'refuse') {
      // With a single machine there is nothing to compare: what failed says it best.
      throw next?.action === 'refuse' && task.excludedNodes.size > 1 ? next.error : reason;
    }
    this.#warn('retry', task.id, `${node.name} cannot take the task: ${reason.message}`);
    return true;
  }

  /** As `#excludeNode`, but false where that throws what speaks against every node. */
  #mayExcludeNode(error: unknown): boolean {
    try {
      return this.#excludeNode(error);
    } catch (refusal) {
      if (!isRbeeError(refusal)) throw refusal;
      return false;
    }
  }

  #warn(action: string, target: string, human: string, workerId?: string): void {
    const worker = workerId === undefined ? {} : { worker_id: workerId };
    this.#task.narrate({ actor: 'queen-rbee', action, target, level: 'warn', human, ...worker });
  }
}
