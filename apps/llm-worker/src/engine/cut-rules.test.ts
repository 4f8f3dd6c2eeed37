import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { findCutRules } from './cut-rules.js';
import { cutText } from './cut-text.js';

describe('where a text may be cut', () => {
  const canCut = async (form: 'sentencepiece' | 'byte-letters', names: string[], text: string) => {
    const rules = await findCutRules(form, names);
    return (
      rules &&
      [...text]
        .map((_unit, at) => at > 0 && rules(text, at))
        .map((yes) => (yes ? '|' : '.'))
        .join('')
    );
  };

  it.each([
    ['across what no token holds', ['ab', 'bc', '▁a'], 'abcab', '...|.'],
    ['not into a word that a token begins', ['▁a', 'ab'], 'ab ab', '..|..'],
    ['not where a token holds a space behind a letter', ['b▁', '▁a'], 'ab ab', '.|..|'],
    ['the mark counting as a space', ['b▁a'], 'cb▁a', '.|..'],
    ['not beside brackets or behind white space', [], 'a<b>c d', '..||.|.'],
  ])('SentencePiece: %s', async (_what, names, text, expected) => {
    expect(await canCut('sentencepiece', names, text)).toBe(expected);
  });

  it.each([
    ['before a word', ['Ġthe', 'a', 'ĊĠĠ', ').Ċ', 'ĠĠĠ', 'ĉĠa'], 'ab cd, ef  gh\n ij 5', '..|...|............'],
    ['nowhere, when a token holds two words', ['aĠb'], 'ab cd', undefined],
  ])('bytes: %s', async (_what, names, text, expected) => {
    expect(await canCut('byte-letters', names, text)).toBe(expected);
  });

  it('is not known for other tokenizers', async () => {
    expect(await findCutRules('other', [])).toBeUndefined();
  });
});

describe('slices', () => {
  it('are the text, at least so long and never too long, and no character is halved', () => {
    const bounds = { shortest: 4096, longest: 8192 };
    const unit = fc.constantFrom('a', ' ', '中', '🙂', 'word ');
    fc.assert(
      fc.property(fc.array(unit, { minLength: 1, maxLength: 40 }), fc.constantFrom(' ', 'x'), (pattern, cut) => {
        const text = pattern.join('').repeat(2000);
        const slices = [...cutText(text, (whole, at) => whole[at] === cut, bounds)];
        expect(slices.map(({ start, end }) => text.slice(start, end)).join('')).toBe(text);
        for (const { end, start } of slices) {
          expect(end - start).toBeLessThanOrEqual(bounds.longest);
          if (end < text.length) expect(end - start).toBeGreaterThanOrEqual(bounds.shortest);
          expect(() => encodeURIComponent(text.slice(start, end))).not.toThrow();
        }
      }),
      { numRuns: 100 },
    );
  });
});
