import { describe, expect, it } from '@jest/globals';
import { toPrintable, toPrintableAnswer, toPrintableLine } from './printable-text.js';

describe('toPrintable', () => {
  it.each([
    ['a colour', 'a\u001b[31mb', 'a\ufffd[31mb'],
    ['a control of the upper half', 'a\u009b2Jb', 'a\ufffd2Jb'],
    ['a carriage return', 'abc\rxyz', 'abcxyz'],
    ['the line end of Windows', 'a\r\nb', 'a\nb'],
    ['a separator of lines', 'a\u2028b\u2029c', 'a\nb\nc'],
    ['a character without width', 'ad\u200bmin', 'ad\ufffdmin'],
    ['a mark at the beginning', '\ufeffadmin', '\ufffdadmin'],
    ['a turn of the direction', 'a\u202egpj.exe\u2066b\u061c', 'a\ufffdgpj.exe\ufffdb\ufffd'],
    ['what is printed', 'Grüße\tan 東京 🐝\n', 'Grüße\tan 東京 🐝\n'],
  ])('%s', (_name, text, shown) => {
    expect(toPrintable(text)).toBe(shown);
  });
});

describe('toPrintableLine', () => {
  it('is one line', () => {
    expect(toPrintableLine('a \n  b\u2028c\r\nd')).toBe('a b c d');
  });
});

describe('toPrintableAnswer', () => {
  it('keeps what scripts and emoji are joined with', () => {
    for (const text of ['می\u200cخواهم', '👩\u200d🚀', 'क्\u200dष', 'שלום\u200f!']) {
      expect(toPrintableAnswer(text)).toBe(text);
    }
  });

  it('lets nothing else through that a terminal obeys', () => {
    expect(toPrintableAnswer('a\u001b[2Jb\u202ec\rd')).toBe('a\ufffd[2Jb\ufffdcd');
  });
});
