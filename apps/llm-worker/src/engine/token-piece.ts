/** How a vocabulary writes bytes as text: GPT-2's byte letters, SentencePiece's `▁` and `<0x0A>`, or something else. */
export type PieceForm = 'byte-letters' | 'sentencepiece' | 'other';

/** `hidden` tokens have no text (control tokens), `verbatim` ones stand for themselves, `byte` ones for one byte. */
export type PieceKind = 'normal' | 'byte' | 'verbatim' | 'hidden';

const utf8 = new TextEncoder();
const BYTE_OF_LETTER = listByteLetters();

/** The bytes that a token of a vocabulary stands for; `undefined` when the form is not understood. */
export function decodePiece(form: PieceForm, kind: PieceKind, text: string): Uint8Array | undefined {
  if (kind === 'hidden') return new Uint8Array(0);
  if (kind === 'verbatim') return utf8.encode(text);
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
  if (kind === 'byte' && byte?.[1]) return Uint8Array.of(Number.parseInt(byte[1], 16));
  if (form === 'sentencepiece') return utf8.encode(text.replaceAll('▁', ' '));
  return form === 'byte-letters' ? decodeByteLetters(text) : undefined;
}

function decodeByteLetters(text: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const letter of text) {
    const byte = BYTE_OF_LETTER.get(letter);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** GPT-2's table: printable Latin-1 bytes are their own letter, the others take letters from U+0100 on in order. */
function listByteLetters(): ReadonlyMap<string, number> {
  const letters = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    letters.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return letters;
}
