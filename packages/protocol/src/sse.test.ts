import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  DONE_FRAME,
  decodeSse,
  encodeEvent,
  encodeSse,
  KEEP_ALIVE,
  MAX_EVENT_CHARS,
  SseDecoder,
  type SseMessage,
} from './sse.js';

const broken = (cause?: unknown) => new Error('broken', { cause });

/** The messages of a text whose bytes come in chunks of the given sizes, in turn. */
async function decode(text: string, sizes: readonly number[] = [1]): Promise<SseMessage[]> {
  const messages: SseMessage[] = [];
  for await (const message of decodeSse(chunksOf(text, sizes), broken)) messages.push(message);
  return messages;
}

async function* chunksOf(text: string, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let position = 0, turn = 0; position < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(position, position + size);
    position += size;
  }
}

const lineText = fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => !/[\r\n\0]/.test(text));
const fieldText = lineText.filter((text) => text !== '');
const message = fc.record({
  event: fc.option(fieldText, { nil: undefined }),
  data: fc.array(lineText, { minLength: 1, maxLength: 3 }).map((lines) => lines.join('\n')),
  id: fc.option(fieldText, { nil: undefined }),
});
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
const noise = fc.constantFrom(
  '',
  ': keep-alive\n\n',
  ':\n',
  'retry: 100\n',
  'unknown: field\n',
  'word\n',
  'retry: soon\n',
);

/** `[DONE]` ends a stream and is no message of it. */
const isPlain = ({ data }: SseMessage) => data !== '[DONE]';

describe('a written stream is read back', () => {
  it('for any messages, chunk boundaries, line ends and noise between the lines', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(noise, message.filter(isPlain)), { maxLength: 6 }),
        sizes,
        fc.constantFrom('\n', '\r\n', '\r'),
        async (parts, chunkSizes, lineEnd) => {
          const text = parts.map(([before, sent]) => before + encodeSse(sent)).join('') + DONE_FRAME;
          const received = await decode(text.replaceAll('\n', lineEnd), chunkSizes);
          expect(received).toEqual(parts.map(([, sent]) => sent));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('byte by byte, with code points of up to four bytes', async () => {
    const sent = { event: 'token', data: '{"t":"aé€😀\u2028"}', id: '7' };
    expect(await decode(encodeSse(sent) + DONE_FRAME, [1])).toEqual([sent]);
  });

  it('with CR, LF and CRLF ends in one stream', async () => {
    const text = 'data: a\rdata: b\n\r\nevent: x\r\ndata: c\r\rdata: [DONE]\r\n\r\n';
    for (const size of [1, 2, 3, 1000]) {
      expect(await decode(text, [size])).toEqual([
        { event: undefined, data: 'a\nb', id: undefined },
        { event: 'x', data: 'c', id: undefined },
      ]);
    }
  });

  it('turns every line break of the data into LF', async () => {
    expect(await decode(encodeSse({ data: 'a\r\nb\rc\nd' }) + DONE_FRAME)).toMatchObject([{ data: 'a\nb\nc\nd' }]);
  });
});

describe('a frame on the wire', () => {
  it('has id, event and data, each on its line', () => {
    expect(encodeSse({ event: 'token', data: 'x', id: '3' })).toBe('id: 3\nevent: token\ndata: x\n\n');
    expect(encodeSse({ data: '' })).toBe('data: \n\n');
  });

  it('is named by the type of its event', () => {
    expect(encodeEvent({ type: 'token', t: 'Once', i: 0 } as { type: string })).toBe(
      'event: token\ndata: {"type":"token","t":"Once","i":0}\n\n',
    );
  });
});

describe('a reader', () => {
  it('dispatches an event as soon as its blank line is there, also with CR ends', () => {
    for (const blank of ['\n\n', '\r\n\r\n', '\r\r']) {
      expect(new SseDecoder().push(Buffer.from(`data: a${blank}`))).toMatchObject([{ data: 'a' }]);
    }
  });

  it('does not take the LF of a split CRLF for a blank line', () => {
    const decoder = new SseDecoder();
    expect(decoder.push(Buffer.from('data: a\r'))).toEqual([]);
    expect(decoder.push(Buffer.from('\ndata: b\r'))).toEqual([]);
    expect(decoder.push(Buffer.from('\n\r'))).toMatchObject([{ data: 'a\nb' }]);
    expect(decoder.push(Buffer.from('\n'))).toEqual([]);
  });

  it('skips comments, unknown fields, blank lines and events without data', async () => {
    const text = `${KEEP_ALIVE}\n\n\nevent: nothing\n\nid: 9\n\nfoo: bar\ndata\ndata:no space\ndata:  two\n\n${DONE_FRAME}`;
    expect(await decode(text, [5])).toEqual([{ event: undefined, data: '\nno space\n two', id: undefined }]);
  });

  it('passes unknown event names on', async () => {
    expect(await decode(`event: surprise\ndata: 1\n\n${DONE_FRAME}`)).toMatchObject([{ event: 'surprise', data: '1' }]);
  });

  it('ignores a byte order mark', async () => {
    expect(await decode(`\ufeffdata: a\n\n${DONE_FRAME}`)).toMatchObject([{ data: 'a' }]);
  });

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 30 })), async (chunks) => {
        const decoder = new SseDecoder();
        for (const chunk of chunks) for (const { data } of decoder.push(chunk)) expect(typeof data).toBe('string');
      }),
    );
  });
});

describe('the end of a stream', () => {
  it.each([
    ['nothing', ''],
    ['whole events only', encodeSse({ data: 'a' })],
    ['half an event', 'data: [DONE]'],
    ['an event without its blank line', 'data: [DONE]\n'],
  ])('without [DONE] is broken: %s', async (_name, text) => {
    await expect(decode(text)).rejects.toThrow('broken');
  });

  it('carries the cause when the transport failed', async () => {
    const cause = new Error('reset');
    async function* failing() {
      yield Buffer.from(encodeSse({ data: 'a' }));
      throw cause;
    }
    const messages = decodeSse(failing(), broken);
    expect((await messages.next()).value).toMatchObject({ data: 'a' });
    await expect(messages.next()).rejects.toMatchObject({ message: 'broken', cause });
  });

  it('is [DONE]: nothing behind it is read, and a transport that breaks then is no error', async () => {
    let closed = false;
    async function* source() {
      try {
        yield Buffer.from(`${encodeSse({ data: 'a' })}${DONE_FRAME}${encodeSse({ data: 'late' })}`);
        throw new Error('read on');
      } finally {
        closed = true;
      }
    }
    const received: SseMessage[] = [];
    for await (const item of decodeSse(source(), broken)) received.push(item);
    expect(received).toMatchObject([{ data: 'a' }]);
    expect(closed).toBe(true);
  });

  it('closes the source when the reader leaves early', async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield Buffer.from(encodeSse({ data: 'a' }));
      } finally {
        closed = true;
      }
    }
    for await (const _message of decodeSse(source(), broken)) break;
    expect(closed).toBe(true);
  });
});

describe('an event that is too large', () => {
  const megabyte = 'x'.repeat(1024 * 1024);
  const feed = (decoder: SseDecoder, text: string, times: number) => {
    for (let i = 0; i < times; i++) decoder.push(Buffer.from(text));
  };

  it('is refused in one line, in many lines, and with comments between them', () => {
    for (const text of [megabyte, `data: ${megabyte}\n`, `data: ${megabyte}\n: comment\n`]) {
      const decoder = new SseDecoder();
      decoder.push(Buffer.from('data: '));
      expect(() => feed(decoder, text, 9)).toThrow(RangeError);
    }
  });

  it('is refused when it comes in one chunk', () => {
    const frame = encodeSse({ data: 'x'.repeat(MAX_EVENT_CHARS + 1) });
    expect(() => new SseDecoder().push(Buffer.from(frame))).toThrow(RangeError);
  });

  it('breaks the stream', async () => {
    async function* source() {
      for (;;) yield Buffer.from(`data: ${megabyte}\n`);
    }
    await expect(decodeSse(source(), broken).next()).rejects.toMatchObject({ cause: expect.any(RangeError) });
  });

  it('is no matter of how much the stream carries in all, nor of how much one chunk does', () => {
    const decoder = new SseDecoder();
    feed(decoder, `data: ${megabyte}\n\n`, 12);
    feed(decoder, `: ${megabyte}\n`, 12);
    expect(decoder.push(Buffer.from(encodeSse({ data: megabyte }).repeat(12)))).toHaveLength(12);
  });
});
