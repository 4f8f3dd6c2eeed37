import { randomUUID } from 'node:crypto';
import type { CommandContext } from '../command-context.js';
import { AnswerWriter } from '../inference/answer-writer.js';
import { runTask, type TaskQueen } from '../inference/run-task.js';
import { renderSummary } from '../inference/summary.js';
import { TaskView } from '../inference/task-view.js';

/**
 * Prints a task's text from its beginning and on to its end, over as many connections as it takes. Leaving does not cancel the
 * task. Throws the task's error.
 */
export async function followTask(
  { env, interrupt, output, settings }: Pick<CommandContext, 'env' | 'interrupt' | 'output' | 'settings'>,
  queen: TaskQueen,
  jobId: string,
): Promise<void> {
  const signal = AbortSignal.any([interrupt.signal, output.broken]);
  const writer = new AnswerWriter(output, !output.json);
  const view = new TaskView(output, writer, env.clock, signal, false);
  try {
    const end = await runTask(
      queen,
      { jobId },
      {
        clock: env.clock,
        variables: env.variables,
        correlationId: randomUUID(),
        signal,
        settings,
        onEvent: (event) => view.show(event),
        onAbsence: () => view.tellAbsence(),
      },
    );
    writer.end();
    output.separate();
    output.say('inference-backend', renderSummary(end));
  } catch (error) {
    writer.cutShort();
    throw error;
  }
}
