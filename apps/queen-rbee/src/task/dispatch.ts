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
import { type BodyInputOf, isRbeeError, RbeeError, type Resume, workerRoutes } from '@rbee/protocol';
import type { Task } from './task.js';

export interface DispatchOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly workerId: string;
  readonly target: Target;
  /** Where the job goes on; left out: it begins. */
  readonly resume?: Resume | undefined;
}

/** How often a worker is told to give up what it still does under the id of a job, before the job goes elsewhere. */
const MOST_TAKEOVERS = 2;

/**
 * Sends a task to a worker and resolves when the worker has accepted it; from then on the task has a deadline, the one that was
 * sent along. A worker whose slots are all taken by others is asked again after 1, 2 and 4 s; one that is still loading is
 * waited for; one that is still at work on the same job, for a queen that is gone or on a connection that broke, is told to
 * give that up. Throws the worker's coded error otherwise.
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
  for (let takeovers = 0; ; ) {
    try {
      return await send(task, options);
    } catch (error) {
      if (!isRbeeError(error)) throw error;
      if (error.code === 'JOB_ALREADY_RUNNING' && takeovers++ < MOST_TAKEOVERS) await takeOver(task, options);
      else if (error.code === 'WORKER_NOT_READY' && clock.monotonic() < end) await untilReady(task, options, end);
      else throw error;
    }
  }
}

/** Ends what a worker still does under the job's id: nobody listens to it any more. */
async function takeOver(task: Task, { target, timeouts, workerId }: DispatchOptions): Promise<void> {
  const { correlationId, signal } = task;
  task.log.warn({ worker_id: workerId }, 'the worker is still at work on this job: it is told to give that up');
  await callJson(target, workerRoutes.cancel, {
    params: { request_id: task.id },
    correlationId,
    signal,
    timeoutMs: timeouts.cancel_ack,
  });
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

async function send(task: Task, options: DispatchOptions): Promise<IncomingStream> {
  const { clock, timeouts, target, workerId } = options;
  const { correlationId, signal } = task;
  const deadline = task.deadline ?? clock.now() + timeouts.inference;
  try {
    const stream = await callStream(target, workerRoutes.infer, {
      body: toInference(task, options.resume),
      correlationId,
      deadline,
      signal,
      timeoutMs: timeouts.first_byte,
    });
    task.limit(deadline);
    return stream;
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

function toInference({ id, request }: Task, resume: Resume | undefined): BodyInputOf<typeof workerRoutes.infer> {
  const {
    node: _node,
    model: _model,
    backend: _backend,
    device: _device,
    timeout_seconds: _limit,
    priority: _priority,
    on_disconnect: _onDisconnect,
    resume: resumable,
    ...inference
  } = request;
  return { ...inference, job_id: id, stream: true, resumable, ...(resume ? { resume } : {}) };
}
