import type { Clock, EventStream } from '@rbee/daemon-kit';
import { type InferenceEvent, RbeeError } from '@rbee/protocol';
import { HeldFrames } from './held-frames.js';
import type { RunningJob } from './jobs.js';

export interface ReaderOptions {
  readonly stream: EventStream<InferenceEvent>;
  readonly job: RunningJob;
  readonly clock: Clock;
  /** How long the reader may take nothing at all, in milliseconds. */
  readonly stallMs: number;
}

/**
 * Who reads one answer. While the reader is behind, its generation waits and at most one frame is held for it; when it takes
 * nothing for too long, the job ends with CANCELLED, because it keeps a slot from others.
 */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #frames: HeldFrames;
  #catchingUp: Promise<void> | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#frames = new HeldFrames((text) => options.stream.sendFrame(text));
  }

  /** Whether it has not taken yet what was written; nothing should be written that can be left out. */
  get behind(): boolean {
    return this.#catchingUp !== undefined || this.#frames.behind;
  }

  /** Writes an event behind all frames. */
  send(event: InferenceEvent): void {
    this.#frames.flush();
    // Whoever generates hears of it in time; an abort is told by the job.
    if (!this.#options.stream.send(event)) this.#catchUp().catch(() => undefined);
  }

  /** Writes a token's frame as soon as the engine is at work again. A promise holds the generation back until it settles. */
  push(frame: string): void | Promise<void> {
    this.#frames.push(frame);
    if (this.behind) return this.#catchUp();
  }

  /** Writes what is held. */
  flush(): void {
    this.#frames.flush();
  }

  #catchUp(): Promise<void> {
    this.#catchingUp ??= this.#waitForDrain().finally(() => {
      this.#catchingUp = undefined;
    });
    return this.#catchingUp;
  }

  async #waitForDrain(): Promise<void> {
    const { stream, job, clock, stallMs } = this.#options;
    const cancelTimer = clock.after(stallMs, () => job.cancel(toStallError(stallMs)));
    try {
      await stream.drained(job.signal);
      this.#frames.drained();
    } finally {
      cancelTimer();
    }
  }
}

function toStallError(stallMs: number): RbeeError {
  return new RbeeError('CANCELLED', `nothing of the answer was read for ${stallMs / 1000} s`, {
    details: { reason: 'reader_stalled', stall_ms: stallMs },
    suggestion: 'read the answer as it comes; a slow reader is waited for as long as it reads something',
  });
}
