import { type RbeeError, type StopReason, toRbeeError } from '@rbee/protocol';
import type { LlamaContextSequence, SequenceEvaluateOutput, Token } from 'node-llama-cpp';
import type { Member } from './decode-loop.js';
import { toInferenceError } from './inference-error.js';
import type { OutputWindow } from './output-window.js';
import { RecentTokens, type Sampling, toEvaluateOptions } from './sampling.js';

/** Figures of a generation, also while it runs. */
export interface GenerationFigures {
  readonly promptTokens: number;
  /** Tokens of the prompt that the slot's cache held already. */
  readonly cachedTokens: number;
  /** Tokens of the prompt that are still to be evaluated; 0 while it generates. */
  readonly promptLeft: number;
  /** Generated tokens, those before a resume included. */
  readonly tokensOut: number;
  /** From the start to the first token. */
  readonly promptMs: number;
  /** From the first token on. */
  readonly decodeMs: number;
}

export interface GenerationEnd extends Omit<GenerationFigures, 'promptLeft'> {
  readonly stopReason: StopReason;
  readonly stopMatched: string | undefined;
}

export interface GenerationOptions {
  readonly promptTokens: number;
  /** The prompt, and behind it the answer so far when a lost generation goes on. */
  readonly tokens: readonly Token[];
  readonly sampling: Sampling;
  /** Bound of all generated tokens, those before a resume included. */
  readonly maxTokens: number | undefined;
  /** Tokens that a slot holds. */
  readonly contextSize: number;
  readonly cachePrompt: boolean;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Settles when nobody else uses the slot any more; the first step waits for it. */
  readonly slotReady?: Promise<unknown> | undefined;
}

type Tokens = AsyncGenerator<SequenceEvaluateOutput<Record<never, never>>, void, void>;

/**
 * One answer, from the first token of the prompt that is not in the cache to the last token of the answer.
 *
 * prompt → generating ⇄ waiting for the reader → done. An abort ends it at the next step; nothing is emitted after it.
 */
export class Generation implements Member, GenerationFigures {
  readonly promptTokens: number;
  readonly exact: boolean;
  cachedTokens = 0;
  tokensOut: number;
  promptMs = 0;
  done = false;
  readonly result: Promise<GenerationEnd>;
  readonly #options: GenerationOptions;
  readonly #sequence: LlamaContextSequence;
  readonly #window: OutputWindow;
  readonly #recent: RecentTokens;
  readonly #limit: number;
  readonly #start: number;
  #settle!: { resolve: (end: GenerationEnd) => void; reject: (error: RbeeError) => void };
  /** Tokens that are in the slot's cache. */
  #position = 0;
  #prepared = false;
  #answer: Tokens | undefined;
  #waiting = false;
  #firstTokenAt = 0;
  #lastTokenAt = 0;
  #wake: () => void = () => undefined;

  constructor(sequence: LlamaContextSequence, window: OutputWindow, options: GenerationOptions) {
    this.#sequence = sequence;
    this.#window = window;
    this.#options = options;
    this.#start = options.now();
    this.promptTokens = options.promptTokens;
    this.exact = !options.cachePrompt;
    const answered = options.tokens.slice(options.promptTokens);
    this.tokensOut = answered.length;
    this.#recent = new RecentTokens(answered);
    this.#limit = Math.min(options.maxTokens ?? Number.POSITIVE_INFINITY, options.contextSize - options.promptTokens);
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    window.skip(answered);
  }

  get promptLeft(): number {
    return this.#answer ? 0 : this.#options.tokens.length - this.#position;
  }

  get ready(): boolean {
    return !this.#waiting || this.#options.signal.aborted;
  }

  get decodeMs(): number {
    return this.#lastTokenAt - this.#firstTokenAt;
  }

  /** Lets a reader that has caught up, or an abort, set the loop going again. */
  onReady(wake: () => void): void {
    this.#wake = wake;
  }

  abandon(reason: RbeeError): void {
    this.done = true;
    this.#settle.reject(reason);
  }

  async step(share: number): Promise<void> {
    if (this.done) return;
    try {
      if (this.#options.signal.aborted) return await this.#fail(this.#options.signal.reason);
      if (!this.#prepared) await this.#prepare();
      if (this.#window.matched !== undefined || this.tokensOut >= this.#limit)
        return await this.#end(this.#limitReason());
      if (!this.#answer && share < this.promptLeft) await this.#evaluatePrompt(share);
      else await this.#generate();
    } catch (error) {
      await this.#fail(toInferenceError(error));
    }
  }

  /** Cuts the cache back to what it has in common with the prompt. The last token is always evaluated anew: its output is needed. */
  async #prepare(): Promise<void> {
    this.#prepared = true;
    const { tokens, cachePrompt, promptTokens, slotReady } = this.#options;
    await slotReady;
    if (!cachePrompt) await this.#sequence.clearHistory();
    else await this.#sequence.adaptStateToTokens(tokens.slice(0, -1), false);
    this.#position = this.#sequence.nextTokenIndex;
    this.cachedTokens = Math.min(this.#position, promptTokens);
  }

  async #evaluatePrompt(count: number): Promise<void> {
    const end = this.#position + count;
    await this.#sequence.evaluateWithoutGeneratingNewTokens(this.#options.tokens.slice(this.#position, end));
    this.#position = end;
    // Only for models whose cache can't be cut at any place; does nothing for the others.
    if (this.#sequence.needsCheckpoints) await this.#sequence.takeCheckpoint();
  }

  async #generate(): Promise<void> {
    this.#answer ??= this.#sequence.evaluateWithMetadata(
      this.#options.tokens.slice(this.#position),
      {},
      toEvaluateOptions(this.#options.sampling, this.#recent),
    );
    const next = await this.#answer.next();
    const now = this.#options.now();
    if (this.#firstTokenAt === 0) {
      this.#firstTokenAt = now;
      this.promptMs = now - this.#start;
    }
    this.#lastTokenAt = now;
    if (this.#options.signal.aborted) return await this.#fail(this.#options.signal.reason);
    if (next.done) return await this.#end('EOS');
    const { token } = next.value;
    this.tokensOut++;
    this.#recent.push(token);
    const written = this.#window.push(token);
    if (this.#window.matched !== undefined || this.tokensOut >= this.#limit)
      return await this.#end(this.#limitReason(), written);
    if (written !== undefined) this.#wait(written);
  }

  #wait(written: Promise<void>): void {
    this.#waiting = true;
    const goOn = (): void => {
      this.#waiting = false;
      this.#wake();
    };
    written.then(goOn, (error: unknown) => void this.#fail(error).then(goOn));
  }

  #limitReason(): StopReason {
    return this.tokensOut >= (this.#options.maxTokens ?? Number.POSITIVE_INFINITY) ? 'MAX_TOKENS' : 'CONTEXT_FULL';
  }

  /** Leaves the slot at once; the reader may take its time for what is still held back. */
  async #end(reason: StopReason, written?: void | Promise<void>): Promise<void> {
    await this.#leave();
    void this.#deliverRest(reason, written).catch((error: unknown) => this.#settle.reject(toRbeeError(error)));
  }

  async #deliverRest(reason: StopReason, written: void | Promise<void>): Promise<void> {
    await written;
    await this.#window.flush();
    const { promptTokens, cachedTokens, tokensOut, promptMs, decodeMs } = this;
    const stopMatched = this.#window.matched;
    const stopReason = stopMatched === undefined ? reason : 'STOP_SEQUENCE';
    this.#settle.resolve({ promptTokens, cachedTokens, tokensOut, promptMs, decodeMs, stopReason, stopMatched });
  }

  async #fail(reason: unknown): Promise<void> {
    await this.#leave();
    this.#settle.reject(toRbeeError(reason));
  }

  async #leave(): Promise<void> {
    this.done = true;
    await this.#answer?.return();
  }
}
