import { Writable } from 'node:stream';

const CLEAR_LINE = '\r\u001b[K';

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;

/** A standard output that keeps what is written to it; as a terminal or as a pipe. */
export class CapturedSink extends Writable {
  readonly isTTY: boolean;
  readonly columns = 100;
  text = '';
  #failure: string | undefined;
  #watchers: (() => void)[] = [];

  constructor(isTTY = false) {
    super({ decodeStrings: false, autoDestroy: false });
    this.isTTY = isTTY;
  }

  /** What a terminal shows once carriage returns and erasures have done their work, without colours. */
  get screen(): string {
    return this.text
      .split('\n')
      .map((line) => line.split(CLEAR_LINE).at(-1) ?? '')
      .join('\n')
      .replace(ESCAPES, '');
  }

  /** From now on every write fails with this code, as EPIPE does when the reader has gone. */
  failWith(code: string): void {
    this.#failure = code;
  }

  /** Resolves as soon as the text matches. */
  waitFor(pattern: RegExp): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!pattern.test(this.text)) return;
        this.#watchers = this.#watchers.filter((other) => other !== check);
        resolve();
      };
      this.#watchers.push(check);
      check();
    });
  }

  override _write(chunk: string, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.#failure !== undefined) {
      done(Object.assign(new Error(this.#failure), { code: this.#failure }));
      return;
    }
    this.text += chunk;
    for (const check of [...this.#watchers]) check();
    done();
  }
}
