import { StopMatcher } from './stop-matcher.js';
import type { TokenPieces } from './token-pieces.js';
import { Utf8Window } from './utf8-window.js';

/**
 * Takes text out of the engine. `ids` are all tokens that the text covers; the array is reused, so copy what you keep.
 * A returned promise holds the generation back until it settles.
 */
export type Emit = (text: string, ids: readonly number[]) => void | Promise<void>;

/**
 * Between the tokens of one generation and its reader. A token is passed on as soon as its text is whole and can't be part of
 * a stop string any more, and never in parts: so the ids that went out always give exactly the text that went out, and a
 * generation can go on elsewhere from them.
 */
export class OutputWindow {
  readonly #pieces: TokenPieces;
  readonly #stops: StopMatcher;
  readonly #emit: Emit;
  readonly #utf8 = new Utf8Window();
  readonly #single: number[] = [0];
  /** Tokens that are held back, and for each where its text ends in `#text`; -1 while its last code point is not whole. */
  #ids: number[] = [];
  #ends: number[] = [];
  #text = '';
  /** Whether the bytes that wait for the rest of their code point are all from tokens that were passed on already. */
  #waitingIsOld = false;

  constructor(pieces: TokenPieces, stops: readonly string[], emit: Emit) {
    this.#pieces = pieces;
    this.#stops = new StopMatcher(stops);
    this.#emit = emit;
  }

  /** The stop string that ended the output. */
  get matched(): string | undefined {
    return this.#stops.matched;
  }

  /** Follows tokens that were passed on already, by a generation that this one continues. A stop string in them ends it. */
  skip(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.matched !== undefined) return;
      this.#stops.scan(this.#utf8.push(this.#pieces.get(id).bytes));
    }
    this.#waitingIsOld = this.#utf8.waiting > 0;
  }

  /** Takes the next token. After a stop string is complete (`matched`), nothing more may be pushed. */
  push(id: number): void | Promise<void> {
    const piece = this.#pieces.get(id);
    this.#waitingIsOld = false;
    const idle = this.#ids.length === 0 && this.#utf8.waiting === 0;
    if (idle && piece.text && !this.#stops.active) return this.#emitOne(piece.text, id);
    const start = this.#text.length;
    const text = idle && piece.text !== undefined ? piece.text : this.#utf8.push(piece.bytes);
    const found = this.#stops.active ? this.#stops.scan(text) : -1;
    if (found >= 0) {
      this.#add(id, text);
      return this.#emitBefore(start + found - (this.#stops.matched?.length ?? 0));
    }
    if (idle && text !== '' && this.#utf8.waiting === 0 && this.#stops.held === 0) return this.#emitOne(text, id);
    this.#add(id, text);
    return this.#emitSafe();
  }

  /** The generation has ended by itself: passes on what is still held back. */
  flush(): void | Promise<void> {
    const waiting = this.#utf8.flush();
    // Half a code point at the end of an answer went out as U+FFFD, before its end got lost.
    const rest = this.#waitingIsOld ? '' : waiting;
    const start = this.#text.length;
    this.#text += rest;
    const found = this.#stops.active ? this.#stops.scan(rest) : -1;
    this.#ends = this.#ends.map((end) => (end < 0 ? this.#text.length : end));
    const end = found < 0 ? this.#text.length : start + found - (this.#stops.matched?.length ?? 0);
    return this.#emitBefore(end);
  }

  #add(id: number, text: string): void {
    this.#text += text;
    this.#ids.push(id);
    this.#ends.push(-1);
    if (this.#utf8.waiting > 0) return;
    for (let index = this.#ends.length - 1; index >= 0 && (this.#ends[index] as number) < 0; index--) {
      this.#ends[index] = this.#text.length;
    }
  }

  #emitOne(text: string, id: number): void | Promise<void> {
    this.#single[0] = id;
    return this.#emit(text, this.#single);
  }

  /** Passes on every token at the front whose text is whole and safe. */
  #emitSafe(): void | Promise<void> {
    const safe = this.#text.length - Math.min(this.#stops.held, this.#text.length);
    let count = 0;
    while (count < this.#ends.length && (this.#ends[count] as number) >= 0 && (this.#ends[count] as number) <= safe)
      count++;
    const end = count === 0 ? 0 : (this.#ends[count - 1] as number);
    if (end === 0) return;
    const text = this.#text.slice(0, end);
    const ids = this.#ids.splice(0, count);
    this.#ends = this.#ends.slice(count).map((at) => (at < 0 ? at : at - end));
    this.#text = this.#text.slice(end);
    return this.#emit(text, ids);
  }

  /** Passes on the text before an offset with the tokens it comes from, and drops the rest. */
  #emitBefore(offset: number): void | Promise<void> {
    const text = this.#text.slice(0, Math.max(0, offset));
    let count = 0;
    while (count < this.#ids.length && this.#isCovered(count, text.length)) count++;
    const ids = this.#ids.slice(0, count);
    this.#ids = [];
    this.#ends = [];
    this.#text = '';
    if (text !== '') return this.#emit(text, ids);
  }
  /** Whether a text of that length contains the token's own text or a part of it. */
  #isCovered(index: number, length: number): boolean {
    const start = index === 0 ? 0 : (this.#ends[index - 1] as number);
    const end = this.#ends[index] as number;
    return (end >= 0 && end <= length) || (start >= 0 && start < length);
  }
}
