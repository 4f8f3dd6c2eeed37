import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { terminalLog, toReadableLine } from './terminal-log.js';

function stream(isTTY: boolean): { written: string[]; stream: NodeJS.WriteStream } {
  const written: string[] = [];
  const sink = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      written.push(text);
      done();
    },
  });
  return { written, stream: Object.assign(sink, { isTTY }) as unknown as NodeJS.WriteStream };
}

const LINE = '{"level":"info","time":"2030-01-02T03:04:05.678Z","service":"rbee-hive","port":9200,"msg":"listening"}\n';

describe('terminalLog', () => {
  it('passes lines on as they are where no person reads them', () => {
    const { written, stream: pipe } = stream(false);
    terminalLog(pipe).write(LINE);
    expect(written).toEqual([LINE]);
  });

  it('writes one readable line on a terminal', () => {
    const { written, stream: terminal } = stream(true);
    terminalLog(terminal).write(LINE);
    expect(written).toEqual(['03:04:05 info  listening  port=9200\n']);
  });

  it('drops lines once the pipe is broken', async () => {
    const { written, stream: pipe } = stream(false);
    const log = terminalLog(pipe);
    pipe.destroy(new Error('EPIPE'));
    await new Promise((resolve) => pipe.once('close', resolve));
    log.write(LINE);
    expect(written).toEqual([]);
  });
});

describe('toReadableLine', () => {
  it.each([
    [
      'a narration',
      {
        level: 'warn',
        time: '2030-01-02T03:04:05.678Z',
        actor: 'model-loader',
        action: 'x',
        worker_id: 'w',
        msg: 'loading',
      },
      '03:04:05 warn  [model-loader] loading',
    ],
    [
      'an error',
      {
        level: 'error',
        time: '2030-01-02T03:04:05.678Z',
        error: { error_code: 'NOT_FOUND', message: 'gone', stack: 'at x' },
        msg: 'failed',
      },
      '03:04:05 error failed  error=NOT_FOUND: gone',
    ],
  ])('renders %s', (_what, record, expected) => {
    expect(toReadableLine(JSON.stringify(record))).toBe(expected);
  });

  it('keeps a line that is not JSON', () => {
    expect(toReadableLine('Segmentation fault\n')).toBe('Segmentation fault');
  });

  it.each([
    ['clears the screen', '\u001b[2J\u009b2J', '\ufffd[2J\ufffd2J'],
    ['forges a line', 'gone\r\n12:00:00 info  all is well', 'gone 12:00:00 info  all is well'],
    ['forges a line with other ends', 'a\nb\rc\u0085d\u2028e', 'a b c d e'],
    ['is overwritten', 'abc\b\b\u007f', 'abc\ufffd\ufffd\ufffd'],
    ['turns the writing round', 'abc\u202ecba\u2066', 'abc\ufffdcba\ufffd'],
    ['hides in a word', 'pass\u200bword\ufeffs', 'pass\ufffdword\ufffds'],
    ['is only unusual', 'Grüße\t→ 鍵 🗝', 'Grüße\t→ 鍵 🗝'],
  ])('shows a text that %s as what it is', (_what, text, shown) => {
    const record = { level: 'info', time: '2030-01-02T03:04:05.678Z', msg: text, peer: text, list: { message: text } };
    const line = toReadableLine(JSON.stringify(record));
    expect(line).toBe(`03:04:05 info  ${shown}  peer=${shown}  list=${shown}`);
    expect(toReadableLine(text)).toBe(shown);
  });
});
