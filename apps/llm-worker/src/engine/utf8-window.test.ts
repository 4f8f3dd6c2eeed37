import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { countIncompleteTail, Utf8Window } from './utf8-window.js';

const utf8 = new TextEncoder();

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.slice(index === 0 ? 0 : ends[index - 1], end));
}

describe('Utf8Window', () => {
  it('holds a code point back until it is whole', () => {
    const window = new Utf8Window();
    const [b0, b1, b2, b3] = utf8.encode('🙂');
    expect(window.push(Uint8Array.of(b0 as number, b1 as number))).toBe('');
    expect(window.waiting).toBe(2);
    expect(window.push(Uint8Array.of(b2 as number))).toBe('');
    expect(window.push(Uint8Array.of(b3 as number, 0x21))).toBe('🙂!');
    expect(window.waiting).toBe(0);
    expect(window.flush()).toBe('');
  });

  it('ends a half code point as U+FFFD', () => {
    const window = new Utf8Window();
    expect(window.push(utf8.encode('中').subarray(0, 2))).toBe('');
    expect(window.flush()).toBe('\ufffd');
  });

  it('keeps a byte order mark, which belongs to the text', () => {
    expect(new Utf8Window().push(utf8.encode('\ufeffa'))).toBe('\ufeffa');
  });

  it('gives back any text however it is cut, in pieces that are valid by themselves', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.nat(), { maxLength: 10 }), (text, places) => {
        const window = new Utf8Window();
        const pieces = cut(utf8.encode(text), places).map((bytes) => window.push(bytes));
        for (const piece of pieces) expect(piece).not.toContain('\ufffd\ufffd');
        expect(window.waiting).toBe(0);
        expect(pieces.join('')).toBe(text);
      }),
    );
  });

  it('agrees with the streaming decoder of the platform on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), fc.array(fc.nat(), { maxLength: 6 }), (bytes, places) => {
        const window = new Utf8Window();
        const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
        for (const piece of cut(bytes, places))
          expect(window.push(piece)).toBe(decoder.decode(piece, { stream: true }));
        expect(window.flush()).toBe(decoder.decode());
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    [[0x61], 0],
    [[0xe4], 1],
    [[0xe4, 0xb8], 2],
    [[0xe4, 0xb8, 0xad], 0],
    [[0xf0, 0x9f, 0x99], 3],
    [[0xe0, 0x80], 0],
    [[0xed, 0xa0], 0],
    [[0xf4, 0x90], 0],
    [[0xc0], 0],
    [[0xff], 0],
  ])('counts the incomplete tail of %j', (bytes, expected) => {
    expect(countIncompleteTail(Uint8Array.from(bytes))).toBe(expected);
  });
});
