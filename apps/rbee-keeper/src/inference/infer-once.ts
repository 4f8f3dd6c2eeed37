import type { CommandContext } from '../command-context.js';
import { QueenConnection } from '../queen/queen-connection.js';
import { answerToJson } from './answer-json.js';
import { generate } from './generate.js';
import { newJobId } from './job-id.js';
import { toModelRef } from './model-argument.js';
import { type InputSource, readInput } from './read-input.js';
import { renderSummary } from './summary.js';
import type { TaskOptions } from './task-options.js';
import { toTaskRequest } from './to-task-request.js';

export interface InferOptions extends TaskOptions {
  readonly raw: boolean;
  readonly 'on-disconnect': string;
}

/** Checks everything that can be checked here, then sends one task and prints its answer. */
export async function inferOnce(options: InferOptions, source: InputSource, context: CommandContext): Promise<void> {
  const { env, interrupt, output } = context;
  const isRemote = options.node !== undefined && options.node !== 'localhost';
  const model = options.model === undefined ? undefined : toModelRef(options.model, env, isRemote);
  const fixed = { jobId: newJobId(), model, raw: options.raw };
  // Flags are checked before standard input is read, so that nobody types a prompt for nothing.
  toTaskRequest(options, { prompt: '?' }, fixed);
  const input = await readInput(source, env, interrupt.signal);
  const request = toTaskRequest(options, input, fixed);
  const connection = new QueenConnection(context.queen);
  try {
    await connection.open();
    const outcome = await generate(context, connection, request, interrupt.signal);
    if (!outcome.answer) throw outcome.error;
    if (output.json) output.object(answerToJson(outcome.answer));
    output.separate();
    output.say('inference-backend', renderSummary(outcome.answer.end));
  } finally {
    await connection.close();
  }
}
