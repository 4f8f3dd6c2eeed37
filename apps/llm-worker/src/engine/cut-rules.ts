import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PieceForm } from './token-piece.js';

/** Whether a text may be cut at an offset so that its parts have, one after the other, the tokens of the whole. */
export type CanCut = (text: string, at: number) => boolean;

const NAMES_PER_TURN = 8192;
const CODE_POINTS = 0x110000;
const SPACE_MARK = '▁';
/** A token of several words. The letters from U+0100 to U+0143 stand for white space and other bytes without a form of their own. */
const WORDS = /[^\s▁\u0100-\u0143][ Ġ▁][^\s▁\u0100-\u0143]/u;
const WHITE_SPACE = /\s/;
const LETTER = /^\p{L}/u;

/**
 * Works out where texts may be cut, from all tokens as the model file writes them. `undefined` when the tokenizer's kind gives no
 * such places.
 *
 * A SentencePiece tokenizer merges neighbours to tokens only, so nothing is merged across two characters that no token has side by
 * side. A byte-level one splits words from each other first, and merges nothing across a split: a space in front of a letter
 * begins a word, unless there are tokens of several words. Beside white space and the brackets of control tokens neither is cut,
 * because some of those tokens swallow the space around them.
 */
export async function findCutRules(form: PieceForm, names: readonly string[]): Promise<CanCut | undefined> {
  if (form === 'sentencepiece') {
    const pairs = await listPairs(names);
    return (text, at) => isApart(text, at) && !pairs.has(toPair(before(text, at), text.codePointAt(at) ?? 0));
  }
  if (form !== 'byte-letters' || names.some((name) => WORDS.test(name))) return undefined;
  return (text, at) => isApart(text, at) && text[at] === ' ' && LETTER.test(text.slice(at + 1, at + 3));
}

/** All pairs of characters that stand side by side in a token. */
async function listPairs(names: readonly string[]): Promise<ReadonlySet<number>> {
  const pairs = new Set<number>();
  for (const [index, name] of names.entries()) {
    if (index % NAMES_PER_TURN === NAMES_PER_TURN - 1) await nextTurn();
    let last: number | undefined;
    for (const character of name.replaceAll(SPACE_MARK, ' ')) {
      const code = character.codePointAt(0) as number;
      if (last !== undefined) pairs.add(toPair(last, code));
      last = code;
    }
  }
  return pairs;
}

function toPair(first: number, second: number): number {
  return toSpace(first) * CODE_POINTS + toSpace(second);
}

/** A text that holds the mark itself means a space by it. */
function toSpace(code: number): number {
  return code === 0x2581 ? 0x20 : code;
}

/** The code point in front of an offset. */
function before(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  return isLowSurrogate(unit) ? (text.codePointAt(at - 2) ?? unit) : unit;
}

function isApart(text: string, at: number): boolean {
  const [left, right] = [text[at - 1] as string, text[at] as string];
  return (
    !WHITE_SPACE.test(left) && !'>]'.includes(left) && !'<['.includes(right) && !isLowSurrogate(text.charCodeAt(at))
  );
}

/** The second half of a character that takes two units. */
export function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
