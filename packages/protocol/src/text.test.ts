import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseInput } from './field.js';
import {
  findUnprintable,
  httpOriginSchema,
  patternText,
  plainHttpOriginSchema,
  timeSchema,
  toldFactsSchema,
  toldText,
  toPrintable,
  wholeNumber,
} from './text.js';

const reasonOf = (parse: () => unknown): unknown => {
  try {
    return parse();
  } catch (error) {
    return (error as { details: { reason?: string } }).details.reason;
  }
};

describe('what may not be shown', () => {
  it.each(['', 'plain', 'ünïcode ключ 鍵', '🐝', 'a b', '\u00a0'])('is not in %j', (text) => {
    expect(findUnprintable(text)).toBeUndefined();
  });

  it.each([
    ['a\0b', 'null_byte'],
    ['a\nb', 'newline'],
    ['a\r', 'newline'],
    ['\u001b[31m', 'ansi_escape'],
    ['\u009b31m', 'ansi_escape'],
    ['\t', 'control_character'],
    ['\u0007', 'control_character'],
    ['\u007f', 'control_character'],
    ['\u0085', 'control_character'],
    ['a\u200bb', 'special_characters'],
    ['a\u202eb', 'special_characters'],
    ['\ufeff', 'special_characters'],
    ['\u2028', 'special_characters'],
    ['\ud800', 'special_characters'],
    ['\u{e0041}', 'special_characters'],
  ])('is found in %j: %s', (text, reason) => expect(findUnprintable(text)).toBe(reason));
});

describe('a text of one form', () => {
  const word = patternText('must be a word', /^[a-z]+$/, 8, 'INVALID_PATH');

  it.each([
    ['WORD', 'special_characters'],
    ['', 'special_characters'],
    ['a/../b', 'path_traversal'],
    ['/a', 'absolute_path'],
    ['abcdefghi', 'too_long'],
    ['a\n', 'newline'],
    ['ä', 'non_ascii'],
  ])('is not %j: %s', (text, reason) => {
    expect(() => parseInput(word, text, 'the text')).toThrow(
      expect.objectContaining({ code: 'INVALID_PATH', details: expect.objectContaining({ reason }) }),
    );
  });

  it('is what the pattern takes', () => expect(parseInput(word, 'abcdefgh', 'the text')).toBe('abcdefgh'));
});

describe('the address of a service', () => {
  it.each([
    'http://127.0.0.1:8001',
    'http://workstation.home.arpa:9200/',
    'http://my_host',
    'http://[fe80::1]:9200',
    'http://[::ffff:10.0.0.1]',
  ])('may be %s', (url) => {
    expect(httpOriginSchema.parse(url)).toBe(url);
    expect(plainHttpOriginSchema.parse(url)).toBe(url);
  });

  it('may be one with TLS where that is spoken', () => {
    expect(httpOriginSchema.safeParse('https://host:1').success).toBe(true);
    expect(plainHttpOriginSchema.safeParse('https://host:1').success).toBe(false);
  });

  it.each([
    ['', 'special_characters'],
    ['host:80', 'special_characters'],
    ['ftp://host', 'special_characters'],
    ['file:///etc/passwd', 'special_characters'],
    ['http://user:pass@host', 'special_characters'],
    ['http://host/path', 'special_characters'],
    ['http://host#x', 'special_characters'],
    ['http://host:99999', 'special_characters'],
    ['http://a b', 'special_characters'],
    ['http://host?x', 'shell_metacharacters'],
    ['http://host\n', 'newline'],
    ['http://\u001b[31mhost', 'ansi_escape'],
    ['http://hоst', 'non_ascii'],
    [`http://${'a'.repeat(300)}`, 'too_long'],
  ])('may not be %j: %s', (url, reason) => {
    expect(reasonOf(() => parseInput(httpOriginSchema, url, 'the address'))).toBe(reason);
    expect(reasonOf(() => parseInput(plainHttpOriginSchema, url, 'the address'))).toBe(reason);
  });
});

describe('a time', () => {
  it.each(['2030-01-31T12:00:00Z', '2030-01-31T12:00:00.123Z', '2030-01-31T12:00:00+01:00'])('may be %s', (time) =>
    expect(timeSchema.parse(time)).toBe(time),
  );

  it.each([
    ['', 'special_characters'],
    ['now', 'special_characters'],
    ['2030-02-30T12:00:00Z', 'special_characters'],
    ['2030-01-31T12:00:00', 'special_characters'],
    ['2030-01-31T12:00:00Z\n', 'newline'],
    [`2030-01-31T12:00:00.${'1'.repeat(100)}Z`, 'too_long'],
  ])('may not be %j: %s', (time, reason) =>
    expect(reasonOf(() => parseInput(timeSchema, time, 'the time'))).toBe(reason),
  );
});

describe('a whole number', () => {
  it.each([
    [0, 0],
    [10, 10],
    ['0', 0],
    ['010', 10],
  ])('may be %j', (given, number) => expect(wholeNumber(10).parse(given)).toBe(number));

  it.each(['', ' ', '11', 11, '-1', -1, '+1', '1.5', 1.5, '1e1', '0x1', '٣', '9'.repeat(16), null, true, ['1']])(
    'may not be %j',
    (given) => expect(wholeNumber(10).safeParse(given).success).toBe(false),
  );

  it('is exact, or refused', () => {
    expect(wholeNumber(Number.MAX_SAFE_INTEGER).parse('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
    expect(wholeNumber(Number.MAX_SAFE_INTEGER).safeParse('9007199254740993').success).toBe(false);
  });
});

describe('what another process tells', () => {
  it('becomes one line that can be shown', () => {
    expect(toPrintable('a\r\n\tb\u001b[31mc\u202ed', 100)).toBe('a b\ufffd[31mc\ufffdd');
    expect(toldText(5).parse('line 1\nline 2')).toBe('line ');
    // A character that is cut in its middle.
    expect(toPrintable('abc🐝', 4)).toBe('abc\ufffd');
  });

  it('can be shown, whatever it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = toPrintable(text, 50);
        expect(findUnprintable(shown)).toBeUndefined();
        expect(shown.length).toBeLessThanOrEqual(50);
      }),
    );
  });

  it('is cleaned inside of its facts too', () => {
    const facts = { 'a\n': ['x\u001b', { b: 'y\0', n: 1, t: true, none: null }] };
    expect(toldFactsSchema.parse(facts)).toEqual({ 'a ': ['x\ufffd', { b: 'y\ufffd', n: 1, t: true, none: null }] });
  });

  it('is not so deep that writing it fails', () => {
    let deep: unknown = 'x';
    for (let level = 0; level < 100_000; level++) deep = level % 2 === 0 ? [deep] : { deep };
    expect(JSON.stringify(toldFactsSchema.parse({ deep, flat: 1 })).length).toBeLessThan(200);
  });
});
