import { describe, expect, it } from '@jest/globals';
import { decodePiece, type PieceForm, type PieceKind } from './token-piece.js';
import { TokenPieces } from './token-pieces.js';

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('utf8');

describe('decodePiece', () => {
  it.each<[PieceForm, PieceKind, string, string | undefined]>([
    ['byte-letters', 'normal', 'Ġupon', ' upon'],
    ['byte-letters', 'normal', 'Ċ', '\n'],
    ['byte-letters', 'normal', 'Ã©', 'é'],
    ['byte-letters', 'verbatim', '<think>', '<think>'],
    ['byte-letters', 'hidden', '<|im_end|>', ''],
    ['byte-letters', 'normal', '▁word', undefined],
    ['sentencepiece', 'normal', '▁upon', ' upon'],
    ['sentencepiece', 'byte', '<0x0A>', '\n'],
    ['other', 'normal', 'word', undefined],
  ])('%s, %s: %j is %j', (form, kind, written, expected) =>
    expect(text(decodePiece(form, kind, written))).toBe(expected),
  );

  it('keeps half code points as bytes', () => {
    expect(decodePiece('byte-letters', 'normal', 'Ã')).toEqual(Uint8Array.of(0xc3));
    expect(decodePiece('sentencepiece', 'byte', '<0xE4>')).toEqual(Uint8Array.of(0xe4));
  });
});

describe('TokenPieces', () => {
  const pieces = new TokenPieces({
    form: 'byte-letters',
    textOf: (id) => ['Ġ.', 'Ã', 'strange', '<eos>'][id],
    kindOf: (id) => (id === 3 ? 'hidden' : 'normal'),
    detokenize: (id) => ['.', '\ufffd', 'engine knows better', ''][id] ?? '',
  });

  it('keeps a space that the engine would drop', () => expect(pieces.get(0).text).toBe(' .'));
  it('has no text for half a code point', () =>
    expect(pieces.get(1)).toEqual({ text: undefined, bytes: Uint8Array.of(0xc3) }));
  it('believes the engine where the two disagree', () => expect(pieces.get(2).text).toBe('engine knows better'));
  it('has an empty text for control tokens and unknown ids', () => {
    expect(pieces.get(3).text).toBe('');
    expect(pieces.get(99).text).toBe('');
  });
  it('works a token out once', () => expect(pieces.get(0)).toBe(pieces.get(0)));
});
