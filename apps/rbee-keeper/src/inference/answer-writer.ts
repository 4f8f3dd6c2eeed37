import type { Output } from '../output.js';

/**
 * Writes generated text to standard output as it comes. Line breaks at the end of what has come so far are held back
 * until more text follows, so that the answer ends with exactly one.
 */
export class AnswerWriter {
  readonly #output: Output;
  readonly #prints: boolean;
  #text = '';
  #heldBack = '';
  #printed = false;

  /** Without `prints` the text is only collected. */
  constructor(output: Output, prints: boolean) {
    this.#output = output;
    this.#prints = prints;
  }

  /** Everything that was generated. */
  get text(): string {
    return this.#text;
  }

  /** Takes the next piece. False when the reader is behind. */
  write(piece: string): boolean {
    this.#text += piece;
    if (!this.#prints) return true;
    const pending = this.#heldBack + piece;
    const body = pending.replace(/[\r\n]+$/, '');
    this.#heldBack = pending.slice(body.length);
    if (body !== '') this.#printed = true;
    return this.#output.text(body);
  }

  /** Ends the answer's last line. */
  end(): void {
    if (this.#prints && this.#printed) this.#output.endText();
    else if (this.#prints) this.#output.text('\n');
    this.#heldBack = '';
    this.#printed = false;
  }

  /** Ends the line of an answer that was cut short, if one was begun. */
  cutShort(): void {
    if (this.#printed) this.end();
  }
}
