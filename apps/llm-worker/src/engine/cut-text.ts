import { type CanCut, isLowSurrogate } from './cut-rules.js';

/** Units of text that are tokenized in one go: a few milliseconds. */
export const SLICE_UNITS = 4096;
/** A text that may be cut nowhere is cut all the same after so many units: the slowest tokenizers take half a tenth of a second for them. */
export const LONGEST_SLICE_UNITS = 4 * SLICE_UNITS;

/** A part of a text. */
export interface TextSlice {
  readonly start: number;
  readonly end: number;
}

/** Cuts a text into slices of at least `units`, but for the last one, at places where it may be cut. */
export function* cutText(text: string, canCut: CanCut, units = SLICE_UNITS): Generator<TextSlice, void, void> {
  let start = 0;
  while (start < text.length) {
    const end = findEnd(text, start, canCut, units);
    yield { start, end };
    start = end;
  }
}

function findEnd(text: string, start: number, canCut: CanCut, units: number): number {
  const last = start + LONGEST_SLICE_UNITS;
  for (let at = start + units; at < Math.min(text.length, last); at++) if (canCut(text, at)) return at;
  if (text.length <= last) return text.length;
  return isLowSurrogate(text.charCodeAt(last)) ? last - 1 : last;
}
