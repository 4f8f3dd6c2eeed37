// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text that cannot steer a terminal: carriage returns go, other controls but tab and line feed become U+FFFD. */
export function toPrintable(text: string): string {
  return text.replaceAll('\r', '').replace(CONTROLS, '\ufffd');
}

/** The same on a single line. */
export function toPrintableLine(text: string): string {
  return toPrintable(text).replace(/\s*\n\s*/g, ' ');
}
