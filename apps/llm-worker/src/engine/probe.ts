import type { RbeeError } from '@rbee/protocol';
import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import type { Member } from './decode-loop.js';
import { toInferenceError } from './inference-error.js';

export interface ProbeOptions {
  readonly sequence: LlamaContextSequence;
  /** Any token of the model. */
  readonly token: Token;
  /** Whether the cache of the slot has to be thrown away first. */
  readonly clear: boolean;
}

/**
 * Evaluates one token behind what a slot's cache holds and takes it away again: proof that the engine works, by the way that
 * every answer takes. `result` rejects with INFERENCE_FAILED when it doesn't work.
 */
export class Probe implements Member {
  readonly promptLeft = 0;
  readonly exact = false;
  readonly ready = true;
  readonly unusual = true;
  readonly result: Promise<void>;
  done = false;
  readonly #options: ProbeOptions;
  #settle!: { resolve: () => void; reject: (error: RbeeError) => void };

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  async step(): Promise<void> {
    const { sequence, token, clear } = this.#options;
    this.done = true;
    try {
      if (clear) await sequence.clearHistory();
      const start = sequence.nextTokenIndex;
      await sequence.evaluateWithoutGeneratingNewTokens([token]);
      await sequence.eraseContextTokenRanges([{ start, end: start + 1 }]);
      this.#settle.resolve();
    } catch (error) {
      this.#settle.reject(toInferenceError(error));
    }
  }

  abandon(reason: RbeeError): void {
    this.done = true;
    this.#settle.reject(reason);
  }
}
