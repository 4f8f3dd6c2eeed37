import { type Call, type Clock, type EventStream, type Handlers, Reply, type Timeouts } from '@rbee/daemon-kit';
import type { queenRoutes, RbeeError, TaskEvent } from '@rbee/protocol';
import { checkCallerVersion } from './node/check-version.js';
import { collectAnswer } from './task/collect-answer.js';
import { readEventId } from './task/event-id.js';
import { TaskReader } from './task/task-reader.js';
import type { FoundTask, Tasks } from './task/tasks.js';

export interface TaskRouteParts {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly tasks: Tasks;
}

type TaskHandlers = Pick<
  Handlers<typeof queenRoutes>,
  'runTask' | 'listTasks' | 'showTask' | 'taskEvents' | 'cancelTask'
>;

/** The handlers for tasks. */
export function taskHandlers({ clock, timeouts, tasks }: TaskRouteParts): TaskHandlers {
  const stream = (found: FoundTask, call: Call, events: EventStream<TaskEvent>, hold: boolean, signal: AbortSignal) =>
    new TaskReader(found.log, events, {
      clock,
      stallMs: timeouts.reader_stall,
      signal,
      hold,
      headers: { 'X-Request-Id': found.id },
      after: readEventId(call.headers['last-event-id']),
    }).run();
  return {
    async runTask(call, events) {
      checkCallerVersion(call.headers['x-rbee-version']);
      const { correlationId, client, body } = call;
      const found = tasks.submit(body, { correlationId, client, deadline: toDeadline(call, clock) });
      // The deadline of a call that has brought the task is the task's own, which ends it with all that belongs to it.
      const signal = found.isNew ? whenGone(call.signal) : call.signal;
      if (body.stream) return stream(found, call, events, !call.acceptsEventStream, signal);
      return new Reply(await collectAnswer(found.id, found.log, signal), 200, { 'X-Request-Id': found.id });
    },

    listTasks: async (call) => ({ tasks: tasks.list(call.query.state) }),

    showTask: async (call) => tasks.show(call.params.job_id),

    taskEvents: async (call, events) => stream(tasks.open(call.params.job_id), call, events, false, call.signal),

    cancelTask: (call) => tasks.cancel(call.params.job_id),
  };
}

/** A signal that is aborted when the client has gone, and not when a deadline has passed. */
function whenGone(signal: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const look = () => {
    if ((signal.reason as RbeeError).code !== 'REQUEST_TIMEOUT') gone.abort(signal.reason);
  };
  if (signal.aborted) look();
  else signal.addEventListener('abort', look, { once: true });
  return gone.signal;
}

/** The task's own limit counts; a header can make it shorter, never longer. */
function toDeadline(call: Call<typeof queenRoutes.runTask>, clock: Clock): number | undefined {
  const { timeout_seconds } = call.body;
  if (timeout_seconds === undefined) return call.deadline;
  const own = Math.round(clock.now() + timeout_seconds * 1000);
  if (call.deadline === undefined) return own;
  if (call.deadline > own) {
    call.log.warn(
      { header_deadline: new Date(call.deadline).toISOString() },
      "a deadline header later than the task's own was ignored",
    );
  }
  return Math.min(own, call.deadline);
}
