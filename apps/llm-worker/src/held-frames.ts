/**
 * Holds token frames back until the engine is at work on the next token. Writing to a socket wakes up whoever reads it,
 * which with few cores takes the place of the engine: that must not happen between two steps. The engine begins a step
 * with `setImmediate`, so that what is written one turn later costs it nothing.
 */
export class HeldFrames {
  readonly #send: (frames: string) => boolean;
  #frames = '';
  #behind = false;

  /** `send` writes frames at once; false when the reader is behind. */
  constructor(send: (frames: string) => boolean) {
    this.#send = send;
  }

  /** Whether the reader was behind when something was written last. */
  get behind(): boolean {
    return this.#behind;
  }

  /** The reader has caught up: it gets what was held meanwhile. */
  drained(): void {
    this.#behind = false;
    this.flush();
  }

  /** While the reader is behind, a frame stays here until it has caught up. */
  push(frame: string): void {
    if (this.#frames === '') setImmediate(() => setImmediate(() => this.#flushToReader()));
    this.#frames += frame;
  }

  /** Writes now what is held, so that something else can follow it. */
  flush(): void {
    if (this.#frames === '') return;
    const frames = this.#frames;
    this.#frames = '';
    if (!this.#send(frames)) this.#behind = true;
  }

  #flushToReader(): void {
    if (!this.#behind) this.flush();
  }
}
