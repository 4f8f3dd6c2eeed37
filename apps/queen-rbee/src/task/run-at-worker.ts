import { type Clock, callJson, orAborted, type Target, type Timeouts, type Transport } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, workerRoutes } from '@rbee/protocol';
import { isHiveLost } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';
import { ASK_MS, afterTokens, diagnoseLoss } from './diagnose-loss.js';
import { dispatch } from './dispatch.js';
import { WorkerLost } from './failures.js';
import { relay } from './relay.js';
import { mayGoOn } from './resume.js';
import type { Task } from './task.js';
import type { TaskOutput } from './task-output.js';

export interface RunAtWorkerOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly node: LiveNode;
  readonly workerId: string;
  /** Given what still goes on at the worker when the job has left it: its slot is not free before that. */
  readonly afterwards: (work: Promise<unknown>) => void;
}

/**
 * Runs a task's job on one worker, on which it has a slot: from its beginning or, where tokens have gone out, from there.
 * Resolves when the job's terminal event was passed on. Throws the task's reason when it is aborted, after the worker has
 * confirmed that it gave the job up; otherwise what went wrong, as `WorkerLost` where the worker did not do its part, with
 * the worker excluded from the task's next placement when it cannot serve it.
 */
export async function runAtWorker(task: Task, output: TaskOutput, options: RunAtWorkerOptions): Promise<void> {
  const { clock, timeouts, variables, node, workerId } = options;
  const { correlationId, signal } = task;
  const startedAt = clock.monotonic();
  let target: Target | undefined;
  let accepted = false;
  try {
    target = await node.reachWorker(workerId, { correlationId, signal });
    const modelDigest = node.worker(workerId)?.model_digest;
    const resume = task.tokensOut > 0 ? task.delivered.toResume() : undefined;
    const stream = await dispatch(task, {
      clock,
      timeouts,
      variables,
      workerId,
      target: forLargeBodies(target),
      resume,
    });
    accepted = true;
    if (resume) tellResumed(task, node, workerId);
    task.delivered.from = { node: node.name, workerId };
    output.accept();
    const mayLeave = () => task.tokensOut === 0 || mayGoOn(task, variables);
    const kind = await relay(stream, task, output, { clock, timeouts, workerId, modelDigest, mayLeave });
    const duration_ms = Math.round(clock.monotonic() - startedAt);
    task.log.info({ worker_id: workerId, tokens_out: task.tokensOut, duration_ms }, `the task ended with ${kind}`);
  } catch (error) {
    if (signal.aborted) {
      if (target) await cancelAt(target, task, timeouts.cancel_ack);
      throw signal.reason;
    }
    // Whoever does not want the answer any more does not wait to hear what became of the worker.
    throw await orAborted(explain(error, task, options, target, accepted), signal);
  }
}

/**
 * Says with each request that its body may be larger than a worker takes otherwise: the queen has checked what a caller wrote
 * against its own limit, and adds the tokens that a lost answer goes on from.
 */
function forLargeBodies(target: Target): Target {
  const { transport } = target;
  const send: Transport['send'] = (path, request) =>
    transport.send(path, { ...request, headers: { ...request.headers, 'X-Rbee-Large-Body': '1' } });
  return { ...target, transport: { peer: transport.peer, send, close: () => transport.close() } };
}

function tellResumed(task: Task, node: LiveNode, workerId: string): void {
  const former = task.delivered.from?.workerId ?? workerId;
  task.resumed++;
  const before = former === workerId ? '' : `, in place of ${nickname(former)}`;
  task.narrate({
    actor: 'queen-rbee',
    action: 'task_resumed',
    target: former,
    worker_id: workerId,
    human: `going on ${afterTokens(task.tokensOut)} at ${nickname(workerId)} on ${node.name}${before}`,
  });
}

/** The beginning of a worker's id, which tells it apart from others in a sentence. */
function nickname(workerId: string): string {
  return workerId.slice(0, 'worker-'.length + 8);
}

/** What became of the wish that a worker gives a job up; `silent`: it was asked and did not say. */
type Cancelled = 'confirmed' | 'silent' | 'unreachable';

/** Tells the worker to give the job up, so that its slot is free. */
async function cancelAt(target: Target, task: Task, timeoutMs: number): Promise<Cancelled> {
  try {
    await callJson(target, workerRoutes.cancel, {
      params: { request_id: task.id },
      correlationId: task.correlationId,
      timeoutMs,
    });
    return 'confirmed';
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    task.log.warn({ error_code: error.code }, `a worker did not confirm the cancellation: ${error.message}`);
    return error.details.timeout_ms === undefined ? 'unreachable' : 'silent';
  }
}

/** What a failure at a worker means for the task. */
async function explain(
  error: unknown,
  task: Task,
  options: RunAtWorkerOptions,
  target: Target | undefined,
  accepted: boolean,
): Promise<unknown> {
  if (!isRbeeError(error)) return error;
  const { node, workerId } = options;
  const details = { worker_id: workerId };
  switch (error.code) {
    case 'WORKER_DRAINING':
    case 'WORKER_NOT_READY':
    case 'JOB_ALREADY_RUNNING':
      task.excluded.add(workerId);
      return error;
    case 'CANCELLED':
      if (!accepted) return error;
      task.excluded.add(workerId);
      return new RbeeError('WORKER_DRAINING', `worker ${workerId} gave the job up`, { details, cause: error });
    case 'INFERENCE_TIMEOUT':
    case 'INVALID_RESPONSE':
      return target ? leave(error, task, options, target) : error;
  }
  const isGone = error.code === 'WORKER_NOT_FOUND' || (!accepted && error.details.cause === 'ECONNREFUSED');
  if (isGone || (!accepted && error.status === 401 && (await isReplaced(options, task.correlationId)))) {
    // It was gone before the job reached it: that is old news of the hive's rather than a loss.
    task.excluded.add(workerId);
    node.forgetWorker(workerId);
    return new RbeeError('WORKER_NOT_FOUND', `worker ${workerId} has gone`, { details, cause: error });
  }
  if (!target && isHiveLost(error)) node.forgetHive();
  if (!target || !isBroken(error, accepted)) return error;
  const { correlationId, tokensOut } = task;
  const isLast = tokensOut > 0 && !mayGoOn(task, options.variables);
  const loss = await diagnoseLoss({ node, target, workerId, tokensOut, correlationId, cause: error, isLast });
  if (loss.code !== 'WORKER_CRASHED') return await letGo(loss, task, options, target);
  task.excluded.add(workerId);
  node.forgetWorker(workerId);
  task.narrate({
    actor: 'queen-rbee',
    action: 'worker_crash',
    target: workerId,
    worker_id: workerId,
    level: 'warn',
    error_kind: 'worker_crash',
    human: `${nickname(workerId)} on ${node.name} ended ${afterTokens(tokensOut)}`,
  });
  return new WorkerLost(workerId, loss);
}

/** Whether a worker does not take its key because it has ended, and another one has its port by now. */
async function isReplaced({ node, workerId }: RunAtWorkerOptions, correlationId: string): Promise<boolean> {
  try {
    const { state } = await node.refreshWorker(workerId, { correlationId, timeoutMs: ASK_MS });
    return state === 'failed';
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    return error.code === 'WORKER_NOT_FOUND';
  }
}

/** Whether the connection to the worker broke, on whichever way it went. */
function isBroken({ code }: RbeeError, accepted: boolean): boolean {
  if (code === 'WORKER_CONNECTION_LOST' || code === 'CONNECTION_TIMEOUT') return true;
  return accepted && code === 'SSH_CONNECTION_TIMEOUT';
}

/** Takes a job away from a worker that does not get on with it, or says what cannot be; nobody waits for such a worker's word. */
function leave(error: RbeeError, task: Task, options: RunAtWorkerOptions, target: Target): WorkerLost {
  const { timeouts, workerId, afterwards } = options;
  task.excluded.add(workerId);
  afterwards(cancelAt(target, task, timeouts.cancel_ack));
  return new WorkerLost(workerId, withWorker(error, workerId));
}

function withWorker({ code, message, details, suggestion, cause }: RbeeError, workerId: string): RbeeError {
  return new RbeeError(code, message, {
    details: { ...details, worker_id: workerId },
    cause,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
}

/**
 * Leaves a worker that lives although the connection to it broke. It may be the best one to go on, but not as long as it
 * can still take the end of the old job for that of the new one.
 */
async function letGo(loss: RbeeError, task: Task, options: RunAtWorkerOptions, target: Target): Promise<WorkerLost> {
  const { node, workerId, timeouts, clock, afterwards } = options;
  task.excluded.add(workerId);
  const cancelled = cancelAt(target, task, timeouts.cancel_ack).then((outcome) => {
    if (outcome !== 'silent') task.excluded.delete(workerId);
  });
  afterwards(cancelled);
  // Nobody waits for a machine that has gone.
  const patience = node.standing.status !== 'reachable' ? 0 : task.tokensOut === 0 ? timeouts.cancel_ack : ASK_MS;
  await atMost(clock, patience, cancelled);
  return new WorkerLost(workerId, loss);
}

/** Resolves when a promise has settled, or after some time. */
function atMost(clock: Clock, limitMs: number, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(limitMs, resolve);
    promise.then(resolve, reject).finally(cancel);
  });
}
