import { RbeeError } from '@rbee/protocol';
import type { KeeperEnvironment, TextSink } from './keeper-environment.js';
import { choosePalette, type Palette } from './palette.js';
import { toPrintableAnswer, toPrintableLine } from './printable-text.js';

export type Level = 'debug' | 'info' | 'warn' | 'error';

export interface OutputOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly noColor: boolean;
}

const CLEAR_LINE = '\r\u001b[K';

/**
 * The only writer of standard output and standard error. Results and generated text go to standard output, everything
 * else to standard error. On a terminal, where both meet, narration never cuts a line of generated text in two, and the
 * one transient line (a progress bar) is taken away before anything else is written.
 */
export class Output {
  readonly json: boolean;
  readonly verbose: boolean;
  /** Colours for standard error. */
  readonly palette: Palette;
  /** Colours for standard output. */
  readonly resultPalette: Palette;
  readonly #stdout: TextSink;
  readonly #stderr: TextSink;
  readonly #broken = new AbortController();
  #quiet = false;
  #transient = false;
  #midLine = false;
  #saidSinceText = false;
  #endsWithText = false;

  constructor(env: KeeperEnvironment, options: OutputOptions) {
    this.json = options.json;
    this.verbose = options.verbose;
    this.palette = choosePalette(env.stderr, env.variables, options.noColor);
    this.resultPalette = choosePalette(env.stdout, env.variables, options.noColor);
    this.#stdout = env.stdout;
    this.#stderr = env.stderr;
    this.#stdout.on('error', (cause: NodeJS.ErrnoException) => this.#broken.abort(toOutputError(cause)));
    // Without a reader there is nobody left to tell.
    this.#stderr.on('error', () => this.mute());
  }

  /** Aborted when standard output takes no more: its reader has gone, or its disk is full. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Whether the reader of standard output has gone, as `head` does when it has seen enough. */
  get hasLostReader(): boolean {
    return this.broken.aborted && (this.broken.reason as RbeeError).code === 'CANCELLED';
  }

  /** Whether a person watches standard error. */
  get isTerminal(): boolean {
    return this.#stderr.isTTY === true;
  }

  /** Whether a person reads standard output. */
  get isResultTerminal(): boolean {
    return this.#stdout.isTTY === true;
  }

  /** Width of the terminal behind standard error. */
  get columns(): number {
    // A terminal that does not tell its width reports 0.
    return this.#stderr.columns || 80;
  }

  /** Drops narration and progress from now on; errors still come through. */
  mute(): void {
    this.clearTransient();
    this.#quiet = true;
  }

  /** A line of results. */
  line(text = ''): void {
    this.clearTransient();
    this.#stdout.write(`${text}\n`);
  }

  /** A result for programs: one object on a line of its own. */
  object(value: unknown): void {
    this.line(JSON.stringify(value));
  }

  /** A piece of generated text, as it is. False when the reader is behind: then await `drained` before the next. */
  text(piece: string): boolean {
    if (piece === '') return true;
    this.clearTransient();
    if (this.#saidSinceText) this.separate();
    this.#saidSinceText = false;
    this.#endsWithText = true;
    this.#midLine = this.isResultTerminal && !piece.endsWith('\n');
    return this.#stdout.write(this.isResultTerminal ? toPrintableAnswer(piece) : piece);
  }

  /** Ends the last line of generated text, unless narration has ended it on the terminal that shows both. */
  endText(): void {
    const isEnded = this.isTerminal && this.isResultTerminal && this.#saidSinceText && !this.#midLine;
    if (!isEnded) this.text('\n');
  }

  /** A line of results that was laid out already, its colours included. False when the reader is behind, as with `text`. */
  laidOut(line: string): boolean {
    this.clearTransient();
    this.#endsWithText = false;
    return this.#stdout.write(`${line}\n`);
  }

  /** Resolves when the reader of standard output has caught up, or has gone. */
  drained(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const ends = [signal, this.#broken.signal];
      if (!this.#stdout.writableNeedDrain || ends.some((end) => end.aborted)) return resolve();
      const settle = () => {
        this.#stdout.off('drain', settle);
        for (const end of ends) end.removeEventListener('abort', settle);
        resolve();
      };
      this.#stdout.on('drain', settle);
      for (const end of ends) end.addEventListener('abort', settle);
    });
  }

  /** A line of narration, `[actor] text`. Debug lines need `--verbose`. */
  say(actor: string, text: string, level: Level = 'info'): void {
    if (this.#quiet || (level === 'debug' && !this.verbose)) return;
    if (this.#midLine && this.isTerminal) {
      if (level === 'info' || level === 'debug') return;
      this.#stdout.write('\n');
      this.#midLine = false;
    }
    this.#writeAside(`${renderNarration(this.palette, actor, text, level)}\n`);
    this.#saidSinceText = true;
  }

  /** A line of narration that is a result itself, on standard output; with `--json` it is narration like any other. */
  tell(actor: string, text: string, level: Level = 'info'): void {
    if (this.json) this.say(actor, text, level);
    else if (level !== 'debug' || this.verbose) this.laidOut(renderNarration(this.resultPalette, actor, text, level));
  }

  /** Narration that stays only until something else comes, on a terminal; elsewhere a line like any other. */
  sayForNow(actor: string, text: string): void {
    if (!this.isTerminal || this.verbose) {
      this.say(actor, text);
      return;
    }
    const whole = toPrintableLine(`[${actor}] ${text}`);
    const width = this.columns - 1;
    const line = whole.length <= width ? whole : `${whole.slice(0, width - 1)}…`;
    this.transient(this.palette.dim(line));
  }

  /** An empty line between narration and text, where one terminal shows both. */
  separate(): void {
    if (!this.#quiet && this.isTerminal && this.isResultTerminal) this.#writeAside('\n');
  }

  /** A pale line on standard error, such as the figures of an answer. */
  remark(text: string): void {
    if (!this.#quiet) this.#writeAside(`${this.palette.dim(toPrintableLine(text))}\n`);
  }

  /** Text on standard error that is laid out already: an error block, a hint. Also when narration is muted. */
  block(text: string): void {
    this.#writeAside(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Says that the user's Ctrl+C was obeyed, below the `^C` that a terminal shows where it was typed. */
  tellCancellation(): void {
    this.block(`${this.isTerminal && !this.#endsWithText ? '\n' : ''}Canceled.`);
  }

  /** Shows a line until the next one or until anything else is written; on a terminal only. */
  transient(line: string): void {
    if (this.#quiet || !this.isTerminal || this.#midLine) return;
    this.#stderr.write(`${CLEAR_LINE}${line}`);
    this.#transient = true;
  }

  /** Takes the transient line away. */
  clearTransient(): void {
    if (this.#transient) this.#stderr.write(CLEAR_LINE);
    this.#transient = false;
  }

  #writeAside(text: string): void {
    this.clearTransient();
    this.#endsWithText = false;
    this.#stderr.write(text);
  }
}

function renderNarration({ dim, yellow, red }: Palette, actor: string, text: string, level: Level): string {
  const paint = level === 'warn' ? yellow : level === 'error' ? red : level === 'debug' ? dim : (line: string) => line;
  return `${dim(`[${toPrintableLine(actor)}]`)} ${paint(toPrintableLine(text))}`;
}

function toOutputError(cause: NodeJS.ErrnoException): RbeeError {
  if (cause.code === 'EPIPE') return new RbeeError('CANCELLED', 'the reader of standard output has gone', { cause });
  const full = cause.code === 'ENOSPC';
  return new RbeeError(full ? 'DISK_FULL' : 'INTERNAL_ERROR', `standard output cannot be written (${cause.code})`, {
    details: { cause: cause.code },
    suggestion: full ? 'free some space, or write the answer elsewhere' : 'check where standard output goes',
    cause,
  });
}
