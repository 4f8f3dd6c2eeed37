import { setImmediate as nextTurn } from 'node:timers/promises';
import { refuseLongPrompt } from './context-fit.js';
import { type CanCut, findCutRules } from './cut-rules.js';
import { cutText, type SliceBounds } from './cut-text.js';
import type { PieceForm } from './token-piece.js';

/** The engine's tokenizer; it blocks the event loop, SentencePiece's for a time that grows with the square of the text. */
type Tokenize<T extends number> = (text: string, control: boolean, trim?: 'trimLeadingSpace') => T[];

export interface TokenizerVocabulary<T extends number> {
  readonly form: PieceForm;
  /** All tokens as the model file writes them. */
  readonly names: readonly string[];
  readonly tokenize: Tokenize<T>;
  /** Texts longer than the shortest slice are cut. Left out: as long as is tokenized in a few milliseconds. */
  readonly slices?: SliceBounds;
}

/** A few milliseconds each; the longest slices of SentencePiece, whose time grows with the square, some 30. */
const SLICES = {
  sentencepiece: { shortest: 4096, longest: 8192 },
  'byte-letters': { shortest: 4096, longest: 32_768 },
  other: { shortest: 4096, longest: 32_768 },
} as const satisfies Record<PieceForm, SliceBounds>;

/** What bounds the work on one prompt. */
export interface TokenizeLimits {
  /** Tokens that fit. */
  readonly contextSize: number;
  readonly signal: AbortSignal;
}

/**
 * Tokenizes texts of any length without holding up everything else: a long one in slices, between which the event loop goes on, and no
 * further than its tokens fit. The tokens are those of the whole text, but where there was no place to cut it for the length of the longest slice.
 */
export class PromptTokenizer<T extends number> {
  readonly #vocabulary: TokenizerVocabulary<T>;
  readonly #slices: SliceBounds;
  /** Of all tokens' names. */
  readonly #longest: number;
  #rules: Promise<CanCut | undefined> | undefined;

  constructor(vocabulary: TokenizerVocabulary<T>) {
    this.#vocabulary = vocabulary;
    this.#slices = vocabulary.slices ?? SLICES[vocabulary.form];
    this.#longest = vocabulary.names.reduce((longest, name) => Math.max(longest, name.length), 1);
  }

  /**
   * Adds the tokens of a text to those before it. Throws CONTEXT_LENGTH_EXCEEDED when a text is much too long, and the signal's reason
   * when that is aborted; of a short text that doesn't fit all tokens are added, so that their number can be told.
   */
  async append(tokens: T[], text: string, control: boolean, limits: TokenizeLimits): Promise<void> {
    const { tokenize } = this.#vocabulary;
    const trim = tokens.length === 0 ? undefined : 'trimLeadingSpace';
    if (text.length <= this.#slices.shortest) return addAll(tokens, tokenize(text, control, trim));
    this.#refuseByLength(tokens.length, text, limits.contextSize);
    this.#rules ??= findCutRules(this.#vocabulary.form, this.#vocabulary.names);
    const canCut = await this.#rules;
    if (!canCut) return addAll(tokens, tokenize(text, control, trim));
    for (const { start, end } of cutText(text, canCut, this.#slices)) {
      if (start > 0) await nextTurn();
      limits.signal.throwIfAborted();
      const tooLong = tokens.length > limits.contextSize && text.length - start > this.#slices.longest;
      if (tooLong) throw refuseLongPrompt(tokens.length, limits.contextSize);
      const slice = text.slice(start, end);
      addAll(tokens, start === 0 ? tokenize(slice, control, trim) : this.#tokenizeRest(text, start, slice, control));
    }
  }

  /** A token stands for no more characters than its name has, white space aside, which some tokens swallow. */
  #refuseByLength(before: number, text: string, contextSize: number): void {
    const { form } = this.#vocabulary;
    if (form === 'other' || text.length <= this.#slices.longest) return;
    if (before + text.length / this.#longest <= contextSize) return;
    const written = text.replaceAll(/\s/g, '').length;
    const atLeast = before + Math.ceil(written / this.#longest);
    if (atLeast > contextSize) throw refuseLongPrompt(atLeast, contextSize);
  }

  /** Within a text, SentencePiece must not put a space in front: so the character before comes along, and its tokens go again. */
  #tokenizeRest(text: string, start: number, slice: string, control: boolean): T[] {
    const { form, tokenize } = this.#vocabulary;
    if (form !== 'sentencepiece') return tokenize(slice, control);
    const previous = [...text.slice(Math.max(0, start - 2), start)].at(-1) as string;
    const own = tokenize(previous, false);
    const all = tokenize(previous + slice, control);
    if (own.every((token, index) => token === all[index])) return all.slice(own.length);
    return tokenize(slice, control, 'trimLeadingSpace');
  }
}

/** Spreading a long list into a call would overflow the stack. */
function addAll<T>(to: T[], from: readonly T[]): void {
  for (const item of from) to.push(item);
}
