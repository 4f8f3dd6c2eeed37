import type { TextSink } from './keeper-environment.js';

type Paint = (text: string) => string;

/** Colours for people; each is the identity where colour is not wanted. */
export interface Palette {
  readonly dim: Paint;
  readonly bold: Paint;
  readonly red: Paint;
  readonly yellow: Paint;
  readonly green: Paint;
  readonly cyan: Paint;
}

const plain: Paint = (text) => text;

function paint(open: number, close: number): Paint {
  return (text) => (text === '' ? text : `\u001b[${open}m${text}\u001b[${close}m`);
}

export const plainPalette: Palette = { dim: plain, bold: plain, red: plain, yellow: plain, green: plain, cyan: plain };

const colorPalette: Palette = {
  dim: paint(2, 22),
  bold: paint(1, 22),
  red: paint(31, 39),
  yellow: paint(33, 39),
  green: paint(32, 39),
  cyan: paint(36, 39),
};

/** Colour only on a terminal that can show it, and never when the user asked for none (https://no-color.org). */
export function choosePalette(
  sink: TextSink,
  variables: Readonly<Record<string, string | undefined>>,
  noColor: boolean,
): Palette {
  const refused = noColor || Boolean(variables.NO_COLOR) || variables.TERM === 'dumb';
  return sink.isTTY === true && !refused ? colorPalette : plainPalette;
}
