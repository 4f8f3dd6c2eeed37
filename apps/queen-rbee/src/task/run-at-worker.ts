import { type Clock, callJson, type Target, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, workerRoutes } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import { diagnoseLoss } from './diagnose-loss.js';
import { dispatch } from './dispatch.js';
import { relay } from './relay.js';
import type { Task } from './task.js';
import type { TaskOutput } from './task-output.js';

export interface RunAtWorkerOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly node: LiveNode;
  readonly workerId: string;
}

/**
 * Runs a task's job on one worker, on which it has a slot. Resolves when the job's terminal event was passed on. Throws
 * the task's reason when it is aborted, after the worker has confirmed that it gave the job up; otherwise what went
 * wrong, with the worker excluded from the task's next placement when it cannot serve it.
 */
export async function runAtWorker(task: Task, output: TaskOutput, options: RunAtWorkerOptions): Promise<void> {
  const { clock, timeouts, variables, node, workerId } = options;
  const { correlationId, signal } = task;
  const startedAt = clock.monotonic();
  let target: Target | undefined;
  let accepted = false;
  try {
    target = await node.reachWorker(workerId, { correlationId, signal });
    const deadline = task.deadline ?? clock.now() + timeouts.inference;
    const stream = await dispatch(task, { clock, timeouts, variables, workerId, target, deadline });
    accepted = true;
    task.limit(clock.now() + timeouts.inference);
    output.accept();
    const { kind } = await relay(stream, task, output, { clock, timeouts, workerId });
    const duration_ms = Math.round(clock.monotonic() - startedAt);
    task.log.info({ worker_id: workerId, tokens_out: task.tokensOut, duration_ms }, `the task ended with ${kind}`);
  } catch (error) {
    if (signal.aborted) {
      if (target) await cancelAt(target, task, timeouts.cancel_ack);
      throw signal.reason;
    }
    throw await explain(error, task, options, target, accepted);
  }
}

/** Tells the worker to give the job up, so that its slot is free before the client hears the end. */
async function cancelAt(target: Target, task: Task, timeoutMs: number): Promise<void> {
  try {
    await callJson(target, workerRoutes.cancel, {
      params: { request_id: task.id },
      correlationId: task.correlationId,
      timeoutMs,
    });
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    task.log.warn({ error_code: error.code }, `a worker did not confirm the cancellation: ${error.message}`);
  }
}

/** What a failure at a worker means for the task. */
async function explain(
  error: unknown,
  task: Task,
  { node, workerId, timeouts }: RunAtWorkerOptions,
  target: Target | undefined,
  accepted: boolean,
): Promise<unknown> {
  if (!isRbeeError(error)) return error;
  const details = { worker_id: workerId };
  if (error.code === 'WORKER_DRAINING' || error.code === 'WORKER_NOT_READY') {
    task.excluded.add(workerId);
    return error;
  }
  if (error.code === 'WORKER_NOT_FOUND' || (!accepted && error.details.cause === 'ECONNREFUSED')) {
    // It was gone before the job reached it: that is old news of the hive's rather than a loss.
    task.excluded.add(workerId);
    node.forgetWorker(workerId);
    return new RbeeError('WORKER_NOT_FOUND', `worker ${workerId} has gone`, { details, cause: error });
  }
  if (error.code === 'CANCELLED' && accepted) {
    task.excluded.add(workerId);
    return new RbeeError('WORKER_DRAINING', `worker ${workerId} gave the job up`, { details, cause: error });
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
    return loss;
  }
  // It may still be at work on the job, under an id that the next attempt needs.
  const cancelled = cancelAt(target, task, timeouts.cancel_ack);
  // With tokens out there is none, and a client does not wait for a machine that has gone.
  if (tokensOut === 0 || node.standing.status === 'reachable') await cancelled;
  else cancelled.catch((error: unknown) => task.log.error({ error }, 'a job could not be cancelled'));
  return loss;
}
