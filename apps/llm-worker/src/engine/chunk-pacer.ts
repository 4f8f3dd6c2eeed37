import { MAX_CHUNK, nextChunkSize, toRung } from './chunk-size.js';

/** Keeps the size of prompt chunks at what this model on this machine evaluates in the target time. */
export class ChunkPacer {
  /** Size for prompts that must always be cut in the same way; it never changes. */
  readonly exactSize: number;
  #size: number;

  constructor(startSize: number) {
    this.exactSize = toRung(startSize);
    this.#size = this.exactSize;
  }

  /** Tokens that the next step may evaluate for prompts. */
  get size(): number {
    return Math.min(this.#size, MAX_CHUNK);
  }

  /** Learns from a step that evaluated `tokens` in `ms`. */
  observe(tokens: number, ms: number): void {
    this.#size = nextChunkSize(this.#size, tokens, ms);
  }
}
