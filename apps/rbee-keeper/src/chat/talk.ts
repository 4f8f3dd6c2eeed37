import type { CommandContext } from '../command-context.js';
import { answerToJson } from '../inference/answer-json.js';
import { type Answer, generate, type Outcome } from '../inference/generate.js';
import { newJobId } from '../inference/job-id.js';
import { toModelRef } from '../inference/model-argument.js';
import { renderSummary } from '../inference/summary.js';
import type { TaskOptions } from '../inference/task-options.js';
import { toTaskRequest } from '../inference/to-task-request.js';
import { QueenConnection } from '../queen/queen-connection.js';
import { reportError } from '../report-error.js';
import { Conversation } from './conversation.js';

export interface ChatOptions extends TaskOptions {
  readonly system: string | undefined;
}

/** One conversation with one model at a time, on one queen. */
export class Talk {
  readonly conversation: Conversation;
  readonly #options: ChatOptions;
  readonly #context: CommandContext;
  readonly #connection: QueenConnection;
  #model: string | undefined;
  #failed = false;

  /** Throws the error of a flag that has a wrong value. */
  constructor(options: ChatOptions, context: CommandContext) {
    this.#options = options;
    this.#context = context;
    this.#connection = new QueenConnection(context.queen);
    this.conversation = new Conversation(options.system);
    this.useModel(options.model);
  }

  /** The model that was chosen; `undefined` for the one that comes with rbee. */
  get model(): string | undefined {
    return this.#model;
  }

  /** Whether any turn has failed. */
  get hasFailed(): boolean {
    return this.#failed;
  }

  /** Goes on with another model. Throws INVALID_MODEL_REF or MODEL_NOT_FOUND, and keeps the one there was. */
  useModel(argument: string | undefined): void {
    const { node } = this.#options;
    const isRemote = node !== undefined && node !== 'localhost';
    const model = argument === undefined ? undefined : toModelRef(argument, this.#context.env, isRemote);
    toTaskRequest(this.#options, { prompt: '?' }, { jobId: newJobId(), model, raw: false });
    this.#model = model;
  }

  /** Makes sure of a queen before anybody types. */
  async connect(): Promise<void> {
    await this.#connection.open();
  }

  /**
   * Asks a question and prints the answer. Ctrl+C cancels the answer; what came of it is kept, so that model and screen
   * agree. A failure is reported and the conversation stands as before. False when nothing was kept.
   */
  async ask(question: string): Promise<boolean> {
    const { interrupt } = this.#context;
    const canceled = new AbortController();
    const release = interrupt.takeOver(() => canceled.abort(new Error('canceled')));
    try {
      const signal = AbortSignal.any([interrupt.signal, canceled.signal]);
      const outcome = await this.#answer(question, signal).catch((error) => ({ answer: undefined, error, text: '' }));
      interrupt.signal.throwIfAborted();
      return outcome.answer
        ? this.#keep(question, outcome.answer)
        : this.#recover(question, outcome.text, outcome.error, canceled.signal.aborted);
    } finally {
      release();
    }
  }

  /** Asks the last question again; its old answer is kept when no new one comes. False when there is none. */
  async askAgain(): Promise<boolean> {
    const last = this.conversation.takeBack();
    if (!last) return false;
    if (!(await this.ask(last.question))) this.conversation.keep(last.question, last.answer);
    return true;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #answer(question: string, signal: AbortSignal): Promise<Outcome> {
    await this.#connection.open();
    signal.throwIfAborted();
    const input = { messages: this.conversation.ask(question) };
    const request = toTaskRequest(this.#options, input, { jobId: newJobId(), model: this.#model, raw: false });
    return generate(this.#context, this.#connection, request, signal, true);
  }

  #keep(question: string, answer: Answer): true {
    const { output } = this.#context;
    this.conversation.keep(question, answer.text);
    if (output.json) output.object({ role: 'assistant', ...answerToJson(answer) });
    output.remark(renderSummary(answer.end));
    if (answer.end.stop_reason === 'CONTEXT_FULL') output.remark('/reset forgets the conversation and makes room.');
    return true;
  }

  #recover(question: string, text: string, error: unknown, isCanceled: boolean): boolean {
    const { env, output, settings } = this.#context;
    if (isCanceled) {
      output.tellCancellation();
      if (text !== '') this.conversation.keep(question, text);
      return text !== '';
    }
    if (output.broken.aborted) throw output.broken.reason;
    this.#failed = true;
    reportError(error, { env, output, settings });
    return false;
  }
}
