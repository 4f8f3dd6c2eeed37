import type { Clock } from '@rbee/daemon-kit/client';
import type { Output } from '../output.js';
import {
  type AnyProgress,
  describeProgress,
  type ProgressMoment,
  renderProgressBar,
  renderProgressText,
} from './progress-line.js';

const LINE_EVERY_MS = 5000;
const LINE_EVERY_TENTH = 10;

/** Shows how long work goes on: a bar that redraws itself on a terminal, elsewhere a line per 10 % or per 5 s. */
export class ProgressDisplay {
  readonly #output: Output;
  readonly #clock: Clock;
  #last: { doing: string; tenth: number; at: number } | undefined;

  constructor(output: Output, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  /** Shows the newest state. */
  update(event: AnyProgress): void {
    const moment = describeProgress(event);
    if (this.#output.isTerminal) {
      this.#output.transient(renderProgressBar(moment, this.#output.columns, this.#output.palette));
    } else if (this.#isDue(moment)) {
      this.#output.say(moment.actor, renderProgressText(moment));
    }
  }

  #isDue({ doing, fraction }: ProgressMoment): boolean {
    const at = this.#clock.monotonic();
    const tenth = Math.floor((fraction ?? 0) * LINE_EVERY_TENTH + 1e-9);
    const last = this.#last;
    const due = last?.doing !== doing || tenth !== last.tenth || at - last.at >= LINE_EVERY_MS;
    if (due) this.#last = { doing, tenth, at };
    return due;
  }
}
