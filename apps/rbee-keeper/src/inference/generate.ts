import { randomUUID } from 'node:crypto';
import { type EndEvent, isRbeeError, RbeeError } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { AnswerWriter } from './answer-writer.js';
import { savePartialResult } from './partial-result.js';
import { runTask, staysBehind, type TaskQueen } from './run-task.js';
import { TaskView } from './task-view.js';
import type { TaskToSend } from './to-task-request.js';

/** A whole answer with its figures. */
export interface Answer {
  readonly text: string;
  readonly end: EndEvent;
  readonly jobId: string;
  readonly correlationId: string;
  readonly node: string | undefined;
  readonly model: string | undefined;
  readonly workerId: string | undefined;
}

/** How a task went: its answer, or the error and the text that had come before it. */
export type Outcome =
  | { readonly answer: Answer }
  | { readonly answer: undefined; readonly error: unknown; readonly text: string };

/**
 * Runs one task and prints its text as it comes. The error of a task that fails after tokens had come tells how many, and
 * names the file in which the text was kept. Ends with the signal's reason when that is aborted, or with that of the
 * broken standard output. With `isBrief` narration does not stay on the terminal.
 */
export async function generate(
  { env, output, settings }: Pick<CommandContext, 'env' | 'output' | 'settings'>,
  queen: TaskQueen,
  request: TaskToSend,
  signal: AbortSignal,
  isBrief = false,
): Promise<Outcome> {
  const jobId = request.job_id;
  const correlationId = randomUUID();
  const stopped = AbortSignal.any([signal, output.broken]);
  const writer = new AnswerWriter(output, !output.json);
  const view = new TaskView(output, writer, env.clock, stopped, isBrief);
  try {
    const end = await runTask(
      queen,
      { jobId, body: request },
      {
        clock: env.clock,
        variables: env.variables,
        correlationId,
        signal: stopped,
        settings,
        onEvent: (event) => {
          if (event.type === 'accepted' && request.on_disconnect === 'keep') tellHowToReturn(output, event.job_id);
          return view.show(event);
        },
        onAbsence: () => view.tellAbsence(),
      },
    );
    writer.end();
    const { node, model, workerId } = view;
    return { answer: { text: writer.text, end, jobId: view.jobId ?? jobId, correlationId, node, model, workerId } };
  } catch (failure) {
    writer.cutShort();
    const { text } = writer;
    const error = stopped.aborted
      ? staysBehind(request, signal.reason)
        ? toLeftBehind(view.jobId ?? jobId, signal.reason)
        : tellOfDownload(failure, view.isDownloading)
      : keepPartial(failure, text, view.tokens, { env, request });
    return { answer: undefined, error, text };
  }
}

function tellHowToReturn(output: CommandContext['output'], jobId: string): void {
  output.say('queen-rbee', `the task is kept: rbee-keeper tasks show --id ${jobId} --follow`);
}

/** The end of a command whose task goes on without it. */
function toLeftBehind(job_id: string, cause: unknown): RbeeError {
  return new RbeeError('CANCELLED', 'the command was told to end; its task goes on', {
    details: { job_id, goes_on: true },
    suggestion: `the task goes on: rbee-keeper tasks show --id ${job_id} --follow`,
    cause,
  });
}

/** A cancellation while a model comes says that nothing of it is lost. */
function tellOfDownload(error: unknown, isDownloading: boolean): unknown {
  if (!isDownloading || !isRbeeError(error) || error.code !== 'CANCELLED') return error;
  return new RbeeError('CANCELLED', error.message, {
    details: error.details,
    suggestion: 'what has come of the model is kept; the same command goes on from there',
    cause: error,
  });
}

const COUNTED = /\bafter \d+ tokens?\b/;
const WITHOUT_RESUME = 'without --no-resume an answer goes on at another worker by itself';

/** Whether a task that may go on elsewhere would have done so. */
function isLossOfWorker({ code, details }: RbeeError): boolean {
  const isLoss = code === 'WORKER_CRASHED' || code === 'WORKER_CONNECTION_LOST' || code === 'INFERENCE_TIMEOUT';
  return isLoss && details.service !== 'queen-rbee';
}

function keepPartial(
  error: unknown,
  text: string,
  tokens: number,
  { env, request }: { env: CommandContext['env']; request: TaskToSend },
): unknown {
  if (!isRbeeError(error) || tokens === 0) return error;
  const progress =
    request.max_tokens == null
      ? tokens === 1
        ? '1 token'
        : `${tokens} tokens`
      : `${tokens} / ${request.max_tokens} tokens`;
  const partial: Record<string, unknown> = { tokens: progress };
  try {
    partial.saved_as = savePartialResult(env.tmpdir, request.job_id, text);
  } catch (cause) {
    partial.not_saved = (cause as NodeJS.ErrnoException).code ?? 'unknown cause';
  }
  // Who has lost a worker counts too, but does not know how many there might have been.
  const message = COUNTED.test(error.message)
    ? error.message.replace(COUNTED, `after ${progress}`)
    : `${error.message} after ${progress}`;
  const wouldGoOn = request.resume === false && isLossOfWorker(error);
  const suggestion = wouldGoOn ? `${error.suggestion ?? 'repeat the command'}\n${WITHOUT_RESUME}` : error.suggestion;
  return new RbeeError(error.code, message, {
    details: { ...error.details, ...partial },
    ...(suggestion === undefined ? {} : { suggestion }),
    retryable: error.retryable,
    ...(error.correlationId === undefined ? {} : { correlationId: error.correlationId }),
    cause: error,
  });
}
