import { type MemoryFigures, RbeeError, type Resume } from '@rbee/protocol';
import { LlamaVocabularyType, type Token } from 'node-llama-cpp';
import { listUsableThreads, median } from './choose-threads.js';
import { ChunkPacer } from './chunk-pacer.js';
import { checkContextFit } from './context-fit.js';
import { DecodeLoop } from './decode-loop.js';
import { Generation, type GenerationEnd, type GenerationFigures } from './generation.js';
import { toInferenceError } from './inference-error.js';
import { type LoadedModel, type LoadOptions, loadModel } from './load-engine.js';
import type { MeasuredSpeed } from './measure-speed.js';
import { type Emit, OutputWindow } from './output-window.js';
import { Probe } from './probe.js';
import { PromptEncoder, type PromptInput } from './prompt-encoder.js';
import type { Sampling } from './sampling.js';
import { type Slot, Slots } from './slots.js';
import { ThreadGovernor } from './thread-governor.js';
import type { PieceForm } from './token-piece.js';
import { TokenPieces } from './token-pieces.js';

/** A request whose prompt is in tokens and fits a slot. */
export interface Job {
  readonly promptTokens: number;
  /** The prompt, and behind it the answer so far when a lost generation goes on. */
  readonly tokens: readonly Token[];
  readonly maxTokens: number | undefined;
  readonly cachePrompt: boolean;
}

export interface GenerateOptions {
  readonly sampling: Sampling;
  readonly stop: readonly string[];
  readonly signal: AbortSignal;
  readonly emit: Emit;
}

/** A slot that belongs to one job until it is released. */
export interface Lease {
  /** Number of the slot, from 0. */
  readonly slot: number;
  /** Tokens of the prompt that the slot's cache holds; fewer may be reused where the model can't cut its cache at any place. */
  readonly reusable: number;
  /** Generates once. Rejects with the signal's reason when that is aborted, or with INFERENCE_FAILED. */
  generate(options: GenerateOptions): { readonly figures: GenerationFigures; readonly end: Promise<GenerationEnd> };
  /** Gives the slot back; it is free when the promise resolves, unless the engine is broken. Only after `generate` has ended. */
  release(): Promise<void>;
}

export interface JobLimits {
  /** Left out: until the model ends or the context is full. */
  readonly maxTokens?: number | undefined;
  readonly cachePrompt: boolean;
  readonly resume?: Resume | undefined;
}

/** One loaded model with its slots. */
export class Engine {
  /** Resolves when the engine can't generate any more, with what is wrong. */
  readonly broken: Promise<RbeeError>;
  readonly #loaded: LoadedModel;
  readonly #now: () => number;
  readonly #slots: Slots;
  readonly #loop: DecodeLoop;
  readonly #governor: ThreadGovernor;
  readonly #encoder: PromptEncoder;
  readonly #pieces: TokenPieces;
  readonly #vocabularySize: number;
  readonly #anyToken: Token;
  #probing: Promise<boolean> | undefined;
  #break!: (error: RbeeError) => void;

  /** Loads a model; see `loadModel` for the errors. */
  static async load(options: LoadOptions): Promise<Engine> {
    return new Engine(await loadModel(options), options.now);
  }

  private constructor(loaded: LoadedModel, now: () => number) {
    const { model, context, speed } = loaded;
    this.#loaded = loaded;
    this.#now = now;
    this.#slots = new Slots(context);
    this.#governor = toGovernor(speed);
    this.broken = new Promise((resolve) => {
      this.#break = resolve;
    });
    this.#loop = new DecodeLoop({
      pacer: new ChunkPacer(speed.chunk),
      now,
      onDecoded: (ms, answers) => this.#govern(ms, answers),
      onBroken: this.#break,
    });
    const form = toPieceForm(model.vocabularyType);
    // A unigram tokenizer rewrites the text first, and takes long texts in its stride.
    this.#encoder = new PromptEncoder(model, model.vocabularyType === LlamaVocabularyType.ugm ? 'other' : form);
    const names = model.fileInfo.metadata.tokenizer?.ggml?.tokens ?? [];
    this.#vocabularySize = names.length;
    this.#anyToken = model.tokens.bos ?? model.tokens.eos ?? (0 as Token);
    this.#pieces = new TokenPieces({
      form,
      textOf: (id) => names[id],
      kindOf: (id) => {
        const attributes = model.getTokenAttributes(id as Token);
        if (attributes.control || attributes.unknown) return 'hidden';
        return attributes.userDefined ? 'verbatim' : attributes.byte ? 'byte' : 'normal';
      },
      detokenize: (id) => model.detokenize([id as Token], false),
    });
  }

  get slotsTotal(): number {
    return this.#slots.total;
  }

  get slotsFree(): number {
    return this.#slots.free;
  }

  /** Tokens that one slot holds. */
  get contextSize(): number {
    return this.#loaded.contextSize;
  }

  /** Memory of the model and its context on the device; 0 on the CPU. */
  get vramBytes(): number {
    return this.#loaded.vramBytes;
  }

  /** What the model takes, by the engine's own account. */
  get memory(): MemoryFigures | undefined {
    return this.#loaded.memory;
  }

  get layers(): number {
    return this.#loaded.layers;
  }

  /** Compute threads that decode this model fastest here, as far as is known now. */
  get threads(): number {
    return this.#governor.threads;
  }

  /** For how many milliseconds the engine has been at its current step; undefined while it waits for work or for readers. */
  get stepMs(): number | undefined {
    const start = this.#loop.stepStart;
    return start === undefined ? undefined : this.#now() - start;
  }

  /**
   * Turns a request into tokens; a long one takes several turns of the event loop. Throws INVALID_REQUEST, CONTEXT_LENGTH_EXCEEDED, or
   * the signal's reason.
   */
  async prepare(input: PromptInput, limits: JobLimits, signal: AbortSignal): Promise<Job> {
    const { maxTokens, cachePrompt, resume } = limits;
    const { contextSize } = this;
    const tokens = resume
      ? this.#toTokens([...resume.prompt_ids, ...resume.ids])
      : await this.#encoder.encode(input, { contextSize, signal });
    const promptTokens = resume ? resume.prompt_ids.length : tokens.length;
    checkContextFit(promptTokens, maxTokens, contextSize);
    checkContextFit(tokens.length, 0, contextSize);
    return { promptTokens, tokens, maxTokens, cachePrompt };
  }

  /** Takes a slot for a job, at once; `undefined` when all are busy. */
  take(job: Job): Lease | undefined {
    const slot = this.#slots.take(job.tokens, job.cachePrompt);
    return slot && this.#lease(slot, job);
  }

  /**
   * Makes the engine evaluate one token in the same steps in which it answers, and takes it away again; no cache is lost while a slot
   * has room for it, and a job that comes meanwhile finds the slot free. Resolves to false when jobs have all slots. Rejects with
   * INFERENCE_FAILED. Calls at the same time share one token.
   */
  probe(): Promise<boolean> {
    this.#probing ??= this.#probeSlot().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** Resolves when the engine has nothing to do any more. */
  idle(): Promise<void> {
    return this.#loop.idle();
  }

  /** Frees everything. Jobs must have been aborted or have ended. */
  async dispose(): Promise<void> {
    await this.#loop.idle();
    await this.#loaded.context.dispose();
    await this.#loaded.model.dispose();
    await this.#loaded.llama.dispose();
  }

  #lease(slot: Slot, job: Job): Lease {
    let broken = false;
    return {
      slot: slot.index,
      reusable: job.cachePrompt ? Math.min(this.#slots.prefixOf(slot, job.tokens), job.tokens.length - 1) : 0,
      generate: (options) => {
        const window = new OutputWindow(this.#pieces, options.stop, options.emit);
        const { sampling, signal } = options;
        const generation = new Generation(slot.sequence, window, {
          ...job,
          sampling,
          signal,
          contextSize: this.contextSize,
          now: this.#now,
          slotReady: slot.probed,
        });
        const wake = (): void => this.#loop.wake();
        generation.onReady(wake);
        signal.addEventListener('abort', wake);
        this.#loop.add(generation);
        const end = generation.result.finally(() => signal.removeEventListener('abort', wake));
        end.catch((error: RbeeError) => {
          broken = error.code === 'INFERENCE_FAILED';
        });
        return { figures: generation, end };
      },
      release: async () => {
        if (!slot.busy) return;
        if (broken) await this.#renew(slot);
        else this.#slots.give(slot);
      },
    };
  }

  async #probeSlot(): Promise<boolean> {
    const choice = this.#slots.chooseForProbe(this.contextSize);
    if (!choice) return false;
    const { slot, clear } = choice;
    const probe = new Probe({ sequence: slot.sequence, token: this.#anyToken, clear });
    slot.probed = probe.result;
    this.#loop.add(probe);
    try {
      await probe.result;
      return true;
    } catch (error) {
      // A job that has taken the slot meanwhile fails by the same error, and sees to it itself.
      if (!slot.busy) await this.#slots.renew(slot).catch((cause: unknown) => this.#break(toInferenceError(cause)));
      throw error;
    } finally {
      slot.probed = undefined;
    }
  }

  /** After a failure nothing of a slot is relied on, nor is the engine: when it can't evaluate a single token either, it is broken. */
  async #renew(slot: Slot): Promise<void> {
    try {
      await this.#slots.renew(slot);
      this.probe().catch(this.#break);
    } catch (error) {
      this.#break(toInferenceError(error));
    }
  }

  /** The engine takes another number of threads from its next step on. */
  #govern(ms: number, answers: number): void {
    const { llama } = this.#loaded;
    this.#governor.observe(ms, answers, this.#now());
    if (this.#governor.threads !== llama.maxThreads) llama.maxThreads = this.#governor.threads;
  }

  #toTokens(ids: readonly number[]): Token[] {
    const unknown = ids.find((id) => id >= this.#vocabularySize);
    if (unknown === undefined) return ids as Token[];
    throw new RbeeError(
      'INVALID_REQUEST',
      `resume: ${unknown} is no token of this model, which has ${this.#vocabularySize}`,
      {
        details: {
          errors: [{ field: 'resume', constraint: 'vocabulary', message: 'the ids come from another model' }],
        },
      },
    );
  }
}

/** The time of a GPU's step does not depend on compute threads. */
function toGovernor({ threads, samples, governed }: MeasuredSpeed): ThreadGovernor {
  const measured = samples.find((sample) => sample.threads === threads);
  return new ThreadGovernor({
    threads,
    counts: governed ? listUsableThreads(samples, threads) : [threads],
    stepMs: measured && median(measured.stepMs),
  });
}

function toPieceForm(type: LlamaVocabularyType): PieceForm {
  if (type === LlamaVocabularyType.bpe) return 'byte-letters';
  return type === LlamaVocabularyType.spm || type === LlamaVocabularyType.ugm ? 'sentencepiece' : 'other';
}
