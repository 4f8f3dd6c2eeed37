import { type CanCut, isLowSurrogate } from './cut-rules.js';

/** A part of a text. */
export interface TextSlice {
  readonly start: number;
  readonly end: number;
}

/** How long slices are, in UTF-16 units. */
export interface SliceBounds {
  /** A slice is cut at the first possible place from here on. */
  readonly shortest: number;
  /** Where there is no such place, it is cut here all the same. */
  readonly longest: number;
}

/** Cuts a text into slices that are not shorter than a bound, but for the last one, at places where it may be cut. */
export function* cutText(text: string, canCut: CanCut, bounds: SliceBounds): Generator<TextSlice, void, void> {
  let start = 0;
  while (start < text.length) {
    const end = findEnd(text, start, canCut, bounds);
    yield { start, end };
    start = end;
  }
}

function findEnd(text: string, start: number, canCut: CanCut, { shortest, longest }: SliceBounds): number {
  const last = start + longest;
  for (let at = start + shortest; at < Math.min(text.length, last); at++) if (canCut(text, at)) return at;
  if (text.length <= last) return text.length;
  return isLowSurrogate(text.charCodeAt(last)) ? last - 1 : last;
}
