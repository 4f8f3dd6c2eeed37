import { randomUUID } from 'node:crypto';
import { type EndEvent, isRbeeError, RbeeError, type TaskRequestInput } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import type { QueenClient } from '../queen/queen-client.js';
import { AnswerWriter } from './answer-writer.js';
import { savePartialResult } from './partial-result.js';
import { runTask } from './run-task.js';
import { TaskView } from './task-view.js';

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

/** The text that had come when a task failed or was canceled. */
export class CutShort extends Error {
  override readonly name = 'CutShort';

  constructor(
    override readonly cause: unknown,
    readonly text: string,
  ) {
    super('the answer was cut short', { cause });
  }
}

/** A fresh id for a task, so that the keeper can cancel it before the queen has answered. */
export function newJobId(): string {
  return `job-${randomUUID()}`;
}

/**
 * Runs one task and prints its text as it comes. A failure is thrown as CutShort, with the text so far and the error;
 * when tokens had come, the error tells how many and names the file in which the text was kept.
 */
export async function generate(
  context: Pick<CommandContext, 'env' | 'output' | 'settings'>,
  queen: QueenClient,
  request: TaskRequestInput & { job_id?: string | null | undefined },
  signal: AbortSignal,
): Promise<Answer> {
  const { env, output, settings } = context;
  const jobId = request.job_id ?? newJobId();
  const correlationId = randomUUID();
  const stopped = AbortSignal.any([signal, output.broken]);
  const writer = new AnswerWriter(output, !output.json);
  const view = new TaskView(output, writer, env.clock, stopped);
  try {
    const end = await runTask(queen, { ...request, job_id: jobId }, {
      clock: env.clock,
      variables: env.variables,
      jobId,
      correlationId,
      signal: stopped,
      cancelAckMs: settings.cancel_ack,
      onEvent: (event) => view.show(event),
    });
    writer.end();
    const { node, model, workerId } = view;
    return { text: writer.text, end, jobId, correlationId, node, model, workerId };
  } catch (error) {
    writer.cutShort();
    const failed = stopped.aborted ? error : keepPartial(error, writer.text, view.tokens, { env, jobId, request });
    throw new CutShort(failed, writer.text);
  }
}

function keepPartial(
  error: unknown,
  text: string,
  tokens: number,
  { env, jobId, request }: { env: CommandContext['env']; jobId: string; request: TaskRequestInput },
): unknown {
  if (!isRbeeError(error) || tokens === 0) return error;
  const progress = request.max_tokens == null ? `${tokens} tokens` : `${tokens} / ${request.max_tokens} tokens`;
  const partial: Record<string, unknown> = { tokens: progress };
  try {
    partial.saved_as = savePartialResult(env.tmpdir, jobId, text);
  } catch (cause) {
    partial.not_saved = (cause as NodeJS.ErrnoException).code ?? 'unknown cause';
  }
  return new RbeeError(error.code, `${error.message} after ${progress}`, {
    details: { ...error.details, ...partial },
    ...(error.suggestion === undefined ? {} : { suggestion: error.suggestion }),
    retryable: error.retryable,
    ...(error.correlationId === undefined ? {} : { correlationId: error.correlationId }),
    cause: error,
  });
}
