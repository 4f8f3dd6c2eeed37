const QUOTES = '"""';

/**
 * Puts typed lines together to texts. A line ends a text, unless it ends with a backslash (the next line goes on) or
 * stands in a block between two `"""`, which may share their lines with text.
 */
export class LineAssembler {
  #lines: string[] = [];
  #inBlock = false;

  /** Whether more lines are needed to complete a text. */
  get isOpen(): boolean {
    return this.#inBlock || this.#lines.length > 0;
  }

  /** Takes the next line; the text that it completes, if it does. */
  push(line: string): string | undefined {
    if (this.#inBlock) return this.#pushInBlock(line);
    const trimmed = line.trimStart();
    if (this.#lines.length === 0 && trimmed.startsWith(QUOTES)) {
      this.#inBlock = true;
      const rest = trimmed.slice(QUOTES.length);
      return rest === '' ? undefined : this.#pushInBlock(rest);
    }
    if (line.endsWith('\\')) {
      this.#lines.push(line.slice(0, -1));
      return undefined;
    }
    this.#lines.push(line);
    return this.flush();
  }

  /** What has come so far, as at the end of the input; `undefined` when there is nothing. */
  flush(): string | undefined {
    const text = this.#lines.length > 0 ? this.#lines.join('\n') : undefined;
    this.reset();
    return text;
  }

  /** Forgets what has come so far. */
  reset(): void {
    this.#lines = [];
    this.#inBlock = false;
  }

  #pushInBlock(line: string): string | undefined {
    const end = line.trimEnd();
    if (!end.endsWith(QUOTES)) {
      this.#lines.push(line);
      return undefined;
    }
    const last = end.slice(0, -QUOTES.length);
    if (last !== '') this.#lines.push(last);
    return this.flush() ?? '';
  }
}
