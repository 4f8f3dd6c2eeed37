import { StringDecoder } from 'node:string_decoder';
import { readScriptPid } from './quote.js';

const KEPT_CHARACTERS = 64 * 1024;

/** One output of a running script: tells each line as it comes, and keeps the end of the whole. */
export class ScriptOutput {
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #decoder = new StringDecoder('utf8');
  #text = '';
  #line = '';
  /** Process id of the script, once a line told it; that line is not part of the output. */
  pid: number | undefined;

  constructor(onLine?: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    this.#take(this.#decoder.write(chunk));
  }

  /** Takes what stands without a line end as the last line. Returns the text that was kept. */
  end(): string {
    this.#take(this.#decoder.end());
    if (this.#line) this.#endLine(this.#line, '');
    this.#line = '';
    return this.#text;
  }

  #take(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) this.#endLine(line, '\n');
    // Output without line ends must not pile up.
    if (this.#line.length <= KEPT_CHARACTERS) return;
    this.#endLine(this.#line, '');
    this.#line = '';
  }

  #endLine(line: string, end: string): void {
    if (this.pid === undefined) {
      this.pid = readScriptPid(line);
      if (this.pid !== undefined) return;
    }
    this.#text += line + end;
    if (this.#text.length > 2 * KEPT_CHARACTERS || end === '') this.#text = this.#text.slice(-KEPT_CHARACTERS);
    this.#onLine?.(line.replace(/\r$/, ''));
  }
}
