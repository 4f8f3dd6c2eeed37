/** Line ends that a terminal may obey beside the line feed. */
const LINE_ENDS = /\r\n|[\u2028\u2029]/g;
/** Controls but tab and line feed. */
const CONTROLS = /[^\P{Cc}\t\n]/gu;
/** Characters without width, and those that turn the direction of writing: with them a text looks like another one. */
const DISGUISES = /[\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g;
/** The same but the joiners and marks without which Persian, the scripts of India and many emoji cannot be written. */
const DISGUISES_OF_ANSWERS = /[\u061c\u180e\u200b\u202a-\u202e\u2060-\u206f\ufeff]/g;

/**
 * Text that can neither steer a terminal nor hide in it: carriage returns go, other controls but tab and line feed, characters
 * without width and those of the direction of writing become U+FFFD.
 */
export function toPrintable(text: string): string {
  return toHarmless(text).replace(DISGUISES, '\ufffd');
}

/** The same on a single line. */
export function toPrintableLine(text: string): string {
  return toPrintable(text).replace(/\s*\n\s*/g, ' ');
}

/** The same for what a model has written, in any language. */
export function toPrintableAnswer(text: string): string {
  return toHarmless(text).replace(DISGUISES_OF_ANSWERS, '\ufffd');
}

function toHarmless(text: string): string {
  return text.replace(LINE_ENDS, '\n').replaceAll('\r', '').replace(CONTROLS, '\ufffd');
}
