import { type Clock, formatDuration } from '@rbee/daemon-kit/client';
import type { TaskEvent } from '@rbee/protocol';
import type { Output } from '../output.js';
import { ProgressDisplay } from '../progress/progress-display.js';
import type { AnswerWriter } from './answer-writer.js';

/** Renders the events of one task: text through the writer, everything else as narration and progress. */
export class TaskView {
  readonly #output: Output;
  readonly #writer: AnswerWriter;
  readonly #progress: ProgressDisplay;
  readonly #signal: AbortSignal;
  readonly #isBrief: boolean;
  /** Tokens that have come so far. */
  tokens = 0;
  /** Id under which the queen has the task. */
  jobId: string | undefined;
  node: string | undefined;
  model: string | undefined;
  workerId: string | undefined;
  /** Whether bytes of a model have come, and nothing after them. */
  isDownloading = false;

  /**
   * `signal` ends the wait for a reader of standard output that does not read. With `isBrief` narration stays only until
   * something else comes.
   */
  constructor(output: Output, writer: AnswerWriter, clock: Clock, signal: AbortSignal, isBrief: boolean) {
    this.#output = output;
    this.#writer = writer;
    this.#progress = new ProgressDisplay(output, clock);
    this.#signal = signal;
    this.#isBrief = isBrief;
  }

  /** Says that the queen is looked for. */
  tellAbsence(): void {
    this.#output.say('rbee-keeper', 'queen-rbee does not answer; trying again', 'warn');
  }

  /** Shows one event; resolves when the next one may come. */
  async show(event: TaskEvent): Promise<void> {
    const output = this.#output;
    switch (event.type) {
      case 'token':
        this.tokens += event.ids?.length ?? 1;
        if (!this.#writer.write(event.t)) await output.drained(this.#signal);
        return;
      case 'narration':
        return this.#isBrief && (event.level ?? 'info') === 'info'
          ? output.sayForNow(event.actor, event.human)
          : output.say(event.actor, event.human, event.level);
      case 'progress':
        this.isDownloading = event.phase === 'download' && (this.isDownloading || (event.bytes_downloaded ?? 0) > 0);
        return this.#progress.update(event);
      case 'queued':
        return output.sayForNow('queen-rbee', renderQueued(event));
      case 'accepted':
        this.jobId = event.job_id;
        this.node = event.node;
        this.model = event.model;
        return output.say('queen-rbee', `task ${event.job_id}, correlation id ${event.correlation_id}`, 'debug');
      case 'worker':
        this.node = event.node;
        this.workerId = event.worker_id;
        return output.say('queen-rbee', renderWorker(event), 'debug');
      case 'started':
        output.clearTransient();
        return output.say('queen-rbee', `generation started with ${event.model}`, 'debug');
      case 'metrics':
        return output.say('queen-rbee', `${event.tokens_out} tokens, ${event.tokens_per_sec.toFixed(1)}/s`, 'debug');
      case 'end':
      case 'error':
        return output.clearTransient();
    }
  }
}

function renderQueued({ position, eta_ms, reason }: Extract<TaskEvent, { type: 'queued' }>): string {
  const eta = eta_ms === undefined ? '' : eta_ms < 1000 ? ', less than 1 s' : `, about ${formatDuration(eta_ms)}`;
  return `waiting: place ${position} in the queue${eta} (${reason})`;
}

function renderWorker({ worker_id, node, state, reused }: Extract<TaskEvent, { type: 'worker' }>): string {
  return `${reused ? 'warm' : 'new'} worker ${worker_id} on ${node} (${state})`;
}
