import {
  type Clock,
  callJson,
  callStream,
  formatDuration,
  type IncomingStream,
  retry,
  sleep,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import { type BodyInputOf, isRbeeError, RbeeError, workerRoutes } from '@rbee/protocol';
import type { Task } from './task.js';

export interface DispatchOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly workerId: string;
  readonly target: Target;
  /** Sent along, so that the worker keeps to it. */
  readonly deadline: number;
}

/**
 * Sends a task to a worker and resolves when the worker has accepted it. A worker whose slots are all taken by others is
 * asked again after 1, 2 and 4 s; one that is still loading is waited for. Throws the worker's coded error otherwise.
 */
export async function dispatch(task: Task, options: DispatchOptions): Promise<IncomingStream> {
  const { clock, timeouts, variables, workerId } = options;
  const first = timeouts.busy_retry;
  const waits = [0, first, first * 2, first * 4];
  try {
    return await retry(
      {
        waits,
        isRetryable: isBusy,
        onRetry: (attempt, waitMs, error) => {
          const { slots_busy, slots_total } = (error as RbeeError).details;
          const figures = slots_total === undefined ? '' : ` (${slots_busy ?? slots_total} of ${slots_total} slots)`;
          task.narrate({
            actor: 'queen-rbee',
            action: 'retry',
            target: workerId,
            worker_id: workerId,
            level: 'warn',
            human: `the worker is busy${figures}: retry ${attempt - 1} of ${waits.length - 1} in ${formatDuration(waitMs)}`,
          });
        },
      },
      { clock, variables, signal: task.signal },
      () => sendWhenReady(task, options),
    );
  } catch (error) {
    throw isBusy(error) ? toBusyError(error as RbeeError, workerId) : error;
  }
}

function isBusy(error: unknown): boolean {
  return isRbeeError(error) && error.code === 'ALL_SLOTS_BUSY';
}

function toBusyError(error: RbeeError, workerId: string): RbeeError {
  return new RbeeError('ALL_SLOTS_BUSY', error.message, {
    details: { ...error.details, worker_id: workerId },
    suggestion: 'wait for the running jobs to finish, choose another node with --node, or start another worker',
    cause: error,
  });
}

async function sendWhenReady(task: Task, options: DispatchOptions): Promise<IncomingStream> {
  const { clock, timeouts } = options;
  const end = clock.monotonic() + timeouts.model_load;
  for (;;) {
    try {
      return await send(task, options);
    } catch (error) {
      if (!isRbeeError(error) || error.code !== 'WORKER_NOT_READY' || clock.monotonic() >= end) throw error;
      await untilReady(task, options, end);
    }
  }
}

async function untilReady(
  task: Task,
  { clock, timeouts, target, workerId }: DispatchOptions,
  end: number,
): Promise<void> {
  task.narrate({
    actor: 'queen-rbee',
    action: 'retry',
    target: workerId,
    worker_id: workerId,
    human: 'the worker is still loading its model: waiting until it is ready',
  });
  for (;;) {
    const { correlationId, signal } = task;
    const status = await callJson(target, workerRoutes.ready, {
      correlationId,
      signal,
      timeoutMs: timeouts.health_call,
    });
    if (status.state !== 'loading' || clock.monotonic() >= end) return;
    await sleep(clock, timeouts.ready_poll, signal);
  }
}

async function send(task: Task, { timeouts, target, deadline, workerId }: DispatchOptions): Promise<IncomingStream> {
  const { correlationId, signal } = task;
  try {
    return await callStream(target, workerRoutes.infer, {
      body: toInference(task),
      correlationId,
      deadline,
      signal,
      timeoutMs: timeouts.first_byte,
    });
  } catch (error) {
    throw isRbeeError(error) && error.details.timeout_ms !== undefined
      ? toSilenceError(workerId, timeouts.first_byte, error)
      : error;
  }
}

function toSilenceError(workerId: string, limitMs: number, cause: unknown): RbeeError {
  const limit = formatDuration(limitMs);
  return new RbeeError('INFERENCE_TIMEOUT', `worker ${workerId} did not accept the job within ${limit}`, {
    details: { worker_id: workerId, limit_ms: limitMs, tokens_out: 0 },
    suggestion: `repeat the request; if it happens again, stop this worker: rbee-keeper workers shutdown --id ${workerId}`,
    cause,
  });
}

function toInference({ id, request }: Task): BodyInputOf<typeof workerRoutes.infer> {
  const {
    node: _node,
    model: _model,
    backend: _backend,
    device: _device,
    timeout_seconds: _limit,
    priority: _priority,
    on_disconnect: _onDisconnect,
    resume: _resume,
    ...inference
  } = request;
  return { ...inference, job_id: id, stream: true };
}
