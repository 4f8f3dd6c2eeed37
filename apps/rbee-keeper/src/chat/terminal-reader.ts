import { createInterface, type Interface } from 'node:readline';
import type { TextSink, TextSource } from '../keeper-environment.js';
import type { ChatReader, ReadResult } from './chat-reader.js';

const PASTE_ON = '\u001b[?2004h';
const PASTE_OFF = '\u001b[?2004l';
const HISTORY_LINES = 500;

/**
 * Reads from a terminal, with line editing and a history. The terminal is taken over only while something is being
 * typed, so that during an answer Ctrl+C is a signal as everywhere else; what is typed meanwhile is not lost. Lines that
 * the terminal marks as pasted stay together and wait for Enter.
 */
export class TerminalReader implements ChatReader {
  readonly #stdin: TextSource;
  readonly #echo: TextSink;
  /** Complete inputs that came in one piece with the one before. */
  #ahead: string[][] = [];
  /** A line that was begun before the editor was closed. */
  #begun = '';
  #history: string[] = [];

  constructor(stdin: TextSource, echo: TextSink) {
    this.#stdin = stdin;
    this.#echo = echo;
  }

  read(prompt: string, signal: AbortSignal): Promise<ReadResult> {
    const ahead = this.#ahead.shift();
    if (ahead) {
      this.#echo.write(`${prompt}${ahead.join('\n')}\n`);
      return Promise.resolve({ kind: 'lines', lines: ahead });
    }
    return signal.aborted ? Promise.resolve({ kind: 'end' }) : this.#edit(prompt, signal);
  }

  close(): void {
    this.#stdin.pause();
  }

  #edit(prompt: string, signal: AbortSignal): Promise<ReadResult> {
    return new Promise((resolve) => {
      const editor = this.#openEditor(prompt);
      let pasting = false;
      let lines: string[] = [];
      const settle = (result: ReadResult) => {
        this.#stdin.off('keypress', watchPaste);
        signal.removeEventListener('abort', end);
        editor.off('close', end);
        this.#begun = result.kind === 'lines' ? editor.line : '';
        this.#echo.write(PASTE_OFF);
        editor.close();
        resolve(result);
      };
      const end = () => {
        this.#echo.write('\n');
        settle({ kind: 'end' });
      };
      const watchPaste = (_text: unknown, key: { name?: string } | undefined) => {
        if (key?.name === 'paste-start') pasting = true;
        if (key?.name === 'paste-end') pasting = false;
      };
      editor.on('line', (line) => {
        lines.push(line);
        if (pasting) return;
        this.#ahead.push(lines);
        lines = [];
        // The rest of what arrived in one piece is still to come.
        if (this.#ahead.length === 1) setImmediate(() => settle({ kind: 'lines', lines: this.#ahead.shift() ?? [] }));
      });
      editor.on('history', (history) => {
        this.#history = history;
      });
      editor.once('SIGINT', () => {
        this.#echo.write('\n');
        settle({ kind: 'interrupt' });
      });
      editor.once('close', end);
      this.#stdin.on('keypress', watchPaste);
      signal.addEventListener('abort', end, { once: true });
    });
  }

  #openEditor(prompt: string): Interface {
    const editor = createInterface({
      input: this.#stdin,
      output: this.#echo,
      terminal: true,
      prompt,
      history: this.#history,
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
    });
    this.#echo.write(PASTE_ON);
    editor.prompt();
    if (this.#begun !== '') editor.write(this.#begun);
    return editor;
  }
}
