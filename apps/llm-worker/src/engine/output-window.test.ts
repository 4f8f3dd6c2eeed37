import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { OutputWindow } from './output-window.js';
import { TokenPieces } from './token-pieces.js';

const utf8 = new TextEncoder();

/** A vocabulary of byte strings, written in the way of SentencePiece where they are one byte. */
function piecesOf(tokens: readonly Uint8Array[]): TokenPieces {
  const decoder = new TextDecoder();
  const letter = (bytes: Uint8Array): string => [...bytes].map(toLetter).join('');
  return new TokenPieces({
    form: 'byte-letters',
    textOf: (id) => (tokens[id] ? letter(tokens[id]) : undefined),
    kindOf: () => 'normal',
    detokenize: (id) => decoder.decode(tokens[id]),
  });
}

function toLetter(byte: number): string {
  const printable = (value: number): boolean => (value >= 0x21 && value <= 0x7e) || (value >= 0xa1 && value !== 0xad);
  if (printable(byte)) return String.fromCodePoint(byte);
  let unprintableBefore = 0;
  for (let value = 0; value < byte; value++) if (!printable(value)) unprintableBefore++;
  return String.fromCodePoint(0x100 + unprintableBefore);
}

function run(tokens: readonly Uint8Array[], stops: readonly string[]) {
  const events: { text: string; ids: number[] }[] = [];
  const window = new OutputWindow(piecesOf(tokens), stops, (text, ids) => {
    events.push({ text, ids: [...ids] });
  });
  for (let id = 0; id < tokens.length && window.matched === undefined; id++) void window.push(id);
  if (window.matched === undefined) void window.flush();
  return { events, window, text: events.map((event) => event.text).join('') };
}

const words = (...texts: string[]): Uint8Array[] => texts.map((text) => utf8.encode(text));

/** The text up to the first stop string that becomes complete. */
function cutAtStop(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length);
    if (complete[0] !== undefined) return text.slice(0, end - complete[0].length);
  }
  return text;
}

describe('OutputWindow', () => {
  it('passes each token on by itself', () => {
    expect(run(words('Once', ' upon', ' a'), []).events).toEqual([
      { text: 'Once', ids: [0] },
      { text: ' upon', ids: [1] },
      { text: ' a', ids: [2] },
    ]);
  });

  it('joins the tokens of one code point', () => {
    const [b0, b1, b2, b3] = utf8.encode('🙂');
    const tokens = [
      utf8.encode('a'),
      Uint8Array.of(b0 as number),
      Uint8Array.of(b1 as number, b2 as number),
      Uint8Array.of(b3 as number),
    ];
    expect(run(tokens, []).events).toEqual([
      { text: 'a', ids: [0] },
      { text: '🙂', ids: [1, 2, 3] },
    ]);
  });

  it('holds back what may be a stop string, in whole tokens', () => {
    expect(run(words('go', ' on E', 'N', 'ough', '.'), ['END']).events).toEqual([
      { text: 'go', ids: [0] },
      { text: ' on ENough', ids: [1, 2, 3] },
      { text: '.', ids: [4] },
    ]);
  });

  it('sends nothing of a stop string, and the text before it', () => {
    const { events, window } = run(words('one', ' two E', 'ND', ' three'), ['END']);
    expect(events).toEqual([
      { text: 'one', ids: [0] },
      { text: ' two ', ids: [1] },
    ]);
    expect(window.matched).toBe('END');
  });

  it('sends what is held back at the end', () => {
    expect(run(words('a E', 'N'), ['END']).events).toEqual([{ text: 'a EN', ids: [0, 1] }]);
    expect(run([utf8.encode('中').slice(0, 2)], []).events).toEqual([{ text: '\ufffd', ids: [0] }]);
  });

  it('goes on after tokens that were sent before, stop strings across the border included', () => {
    const sent: string[] = [];
    const window = new OutputWindow(piecesOf(words('a E', 'N', 'D', 'b')), ['END'], (text) => {
      sent.push(text);
    });
    window.skip([0, 1]);
    void window.push(2);
    expect(window.matched).toBe('END');
    expect(sent).toEqual([]);
  });

  it('does not say again what went out for half a code point before the end was lost', () => {
    const [first] = utf8.encode('中');
    const sent: string[] = [];
    const pieces = piecesOf([utf8.encode('a'), Uint8Array.of(first as number), utf8.encode('b')]);
    const window = new OutputWindow(pieces, [], (text) => {
      sent.push(text);
    });
    window.skip([0, 1]);
    void window.flush();
    expect(sent).toEqual([]);
  });

  it('completes a code point whose beginning was sent before', () => {
    const bytes = utf8.encode('中');
    const sent: [string, number[]][] = [];
    const window = new OutputWindow(piecesOf([bytes.slice(0, 2), bytes.slice(2)]), [], (text, ids) => {
      sent.push([text, [...ids]]);
    });
    window.skip([0]);
    void window.push(1);
    void window.flush();
    expect(sent).toEqual([['中', [1]]]);
  });

  it('has ended already when a stop string was complete before', () => {
    const window = new OutputWindow(piecesOf(words('a EN', 'D', ' ENDING')), ['END', 'ENDING'], () => undefined);
    window.skip([0, 1, 2]);
    expect(window.matched).toBe('END');
  });

  it('loses nothing, leaks nothing, and keeps ids and text together for any tokens and stop strings', () => {
    const alphabet = fc.constantFrom('a', 'b', 'é', '中', '🙂');
    const text = fc.string({ unit: alphabet, maxLength: 30 });
    const stopStrings = fc.array(fc.string({ unit: alphabet, minLength: 1, maxLength: 4 }), { maxLength: 4 });
    fc.assert(
      fc.property(
        text,
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
        stopStrings,
        (whole, sizes, stops) => {
          const bytes = utf8.encode(whole);
          const tokens: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = sizes[turn % sizes.length] as number;
            tokens.push(bytes.slice(at, at + size));
            at += size;
          }
          const { events, window, text: sent } = run(tokens, stops);
          expect(sent).toBe(cutAtStop(whole, stops));
          let next = 0;
          for (const event of events) {
            expect(event.text).not.toBe('');
            for (const id of event.ids) expect(id).toBe(next++);
          }
          const complete = window.matched === undefined ? events : events.slice(0, -1);
          const ids = complete.flatMap((event) => event.ids);
          const covered = Buffer.concat(ids.map((id) => tokens[id] as Uint8Array)).toString('utf8');
          expect(covered).toBe(complete.map((event) => event.text).join(''));
        },
      ),
      { numRuns: 1000 },
    );
  });
});
