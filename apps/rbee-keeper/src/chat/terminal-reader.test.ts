import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import type { TextSource } from '../keeper-environment.js';
import { CapturedSink } from '../testing/captured-sink.js';
import { LineAssembler } from './line-assembler.js';
import { readText } from './read-text.js';
import { TerminalReader } from './terminal-reader.js';

const ENTER = '\r';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const UP = '\u001b[A';

function open() {
  const raw: boolean[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) });
  const echo = new CapturedSink(true);
  const reader = new TerminalReader(stdin as TextSource, echo);
  const assembler = new LineAssembler();
  const abort = new AbortController();
  const read = () => readText(reader, assembler, { first: '> ', more: '... ' }, abort.signal);
  return { stdin, echo, raw, reader, abort, read };
}

describe('TerminalReader', () => {
  it('gives one line per Enter and lets go of the terminal in between', async () => {
    const { stdin, raw, read } = open();
    const first = read();
    stdin.write(`hello${ENTER}`);
    expect(await first).toEqual({ kind: 'text', text: 'hello' });
    expect(raw).toEqual([true, false]);
    const second = read();
    stdin.write(`again${ENTER}`);
    expect(await second).toEqual({ kind: 'text', text: 'again' });
    expect(stdin.listenerCount('keypress')).toBe(0);
  });

  it('keeps pasted lines together until Enter', async () => {
    const { stdin, read } = open();
    const text = read();
    stdin.write(`\u001b[200~one${ENTER}two${ENTER}three\u001b[201~`);
    stdin.write(` and more${ENTER}`);
    expect(await text).toEqual({ kind: 'text', text: 'one\ntwo\nthree and more' });
  });

  it('loses nothing of what was typed ahead', async () => {
    const { stdin, read } = open();
    const first = read();
    stdin.write(`one${ENTER}two${ENTER}thr`);
    expect(await first).toEqual({ kind: 'text', text: 'one' });
    expect(await read()).toEqual({ kind: 'text', text: 'two' });
    const third = read();
    stdin.write(`ee${ENTER}`);
    expect(await third).toEqual({ kind: 'text', text: 'three' });
  });

  it('asks on for a text of several lines', async () => {
    const { stdin, echo, read } = open();
    const text = read();
    stdin.write(`"""${ENTER}`);
    await echo.waitFor(/\.\.\. /);
    stdin.write(`a${ENTER}`);
    await echo.waitFor(/\.\.\. [\s\S]*\.\.\. /);
    stdin.write(`"""${ENTER}`);
    expect(await text).toEqual({ kind: 'text', text: 'a' });
  });

  it('has a history', async () => {
    const { stdin, read } = open();
    for (const line of ['first', 'second']) {
      const text = read();
      stdin.write(`${line}${ENTER}`);
      await text;
    }
    const again = read();
    stdin.write(`${UP}${UP}${ENTER}`);
    expect(await again).toEqual({ kind: 'text', text: 'first' });
  });

  it('tells Ctrl+C and Ctrl+D apart', async () => {
    const { stdin, read } = open();
    const interrupted = read();
    stdin.write(`half a line${CTRL_C}`);
    expect(await interrupted).toEqual({ kind: 'interrupt' });
    const ended = read();
    stdin.write(CTRL_D);
    expect(await ended).toEqual({ kind: 'end' });
  });

  it('ends when the program does', async () => {
    const { abort, raw, read } = open();
    const ended = read();
    abort.abort();
    expect(await ended).toEqual({ kind: 'end' });
    expect(raw.at(-1)).toBe(false);
    expect(await read()).toEqual({ kind: 'end' });
  });
});
