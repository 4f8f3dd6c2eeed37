const EMPTY = new Uint8Array(0);

/**
 * Turns bytes into text as soon as code points are whole. Bytes that begin a code point wait for its rest; bytes that can
 * never become one turn into U+FFFD, as in every UTF-8 decoder.
 */
export class Utf8Window {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #waiting: Uint8Array = EMPTY;

  /** Number of bytes, 0 to 3, that wait for the rest of their code point. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes the next bytes and returns the text that they complete, often an empty one. */
  push(bytes: Uint8Array): string {
    const all = this.#waiting.length === 0 ? bytes : concatenate(this.#waiting, bytes);
    const incomplete = countIncompleteTail(all);
    this.#waiting = incomplete === 0 ? EMPTY : all.slice(all.length - incomplete);
    return this.#decoder.decode(incomplete === 0 ? all : all.subarray(0, all.length - incomplete));
  }

  /** The end of the text: bytes that still wait become U+FFFD. */
  flush(): string {
    const rest = this.#waiting;
    this.#waiting = EMPTY;
    return rest.length === 0 ? '' : this.#decoder.decode(rest);
  }
}

/** How many bytes at the end are the beginning of a code point that may still become whole. */
export function countIncompleteTail(bytes: Uint8Array): number {
  const end = bytes.length;
  for (let back = 1; back <= 3 && back <= end; back++) {
    const lead = bytes[end - back] as number;
    if (lead < 0x80) return 0;
    if (lead < 0xc0) continue;
    const wanted = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) === 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (back >= wanted) return 0;
    return back === 1 || isPossibleSecondByte(lead, bytes[end - back + 1] as number) ? back : 0;
  }
  return 0;
}

/** Overlong forms, surrogates and values above U+10FFFF are told apart by the second byte (Unicode, table 3-7). */
function isPossibleSecondByte(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0;
  if (lead === 0xed) return second < 0xa0;
  if (lead === 0xf0) return second >= 0x90;
  if (lead === 0xf4) return second < 0x90;
  return true;
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
