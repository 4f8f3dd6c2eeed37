import { decodePiece, type PieceForm, type PieceKind } from './token-piece.js';
import { countIncompleteTail } from './utf8-window.js';

/** The vocabulary of a loaded model. */
export interface Vocabulary {
  readonly form: PieceForm;
  /** The token as the model file writes it. */
  textOf(id: number): string | undefined;
  kindOf(id: number): PieceKind;
  /** The engine's own idea of the token's text: without half code points, and without some of its spaces. */
  detokenize(id: number): string;
}

/** What one token adds to the output: `text` where its bytes are whole code points, `bytes` always. */
export interface TokenPiece {
  readonly text: string | undefined;
  readonly bytes: Uint8Array;
}

/**
 * The piece of output that each token stands for, worked out once per token. The engine's `detokenize` won't do: it turns half
 * code points into U+FFFD and removes spaces before punctuation, so that a text would change when it is put together.
 */
export class TokenPieces {
  readonly #vocabulary: Vocabulary;
  readonly #pieces: (TokenPiece | undefined)[] = [];
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #encoder = new TextEncoder();

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  /** The piece of a token; an id outside the vocabulary has an empty one. */
  get(id: number): TokenPiece {
    let piece = this.#pieces[id];
    if (!piece) {
      piece = this.#workOut(id);
      this.#pieces[id] = piece;
    }
    return piece;
  }

  #workOut(id: number): TokenPiece {
    const written = this.#vocabulary.textOf(id);
    if (written === undefined) return { text: '', bytes: new Uint8Array(0) };
    const byEngine = this.#vocabulary.detokenize(id);
    const bytes = decodePiece(this.#vocabulary.form, this.#vocabulary.kindOf(id), written);
    if (bytes) {
      const text = this.#toWholeText(bytes);
      const agrees = text === undefined ? byEngine.includes('\ufffd') : dropSpaces(text) === dropSpaces(byEngine);
      if (agrees) return { text, bytes };
    }
    return { text: byEngine, bytes: this.#encoder.encode(byEngine) };
  }

  #toWholeText(bytes: Uint8Array): string | undefined {
    if (countIncompleteTail(bytes) > 0 || isContinuation(bytes[0])) return undefined;
    try {
      return this.#decoder.decode(bytes);
    } catch {
      return undefined; // not text by itself: only together with its neighbours
    }
  }
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x80 && byte < 0xc0;
}

/** The engine leaves out spaces in places; everything else must agree. */
function dropSpaces(text: string): string {
  return text.replaceAll(' ', '');
}
