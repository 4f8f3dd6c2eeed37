import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { Reply } from './serve.js';
import { ManualClock } from './testing/manual-clock.js';
import { openRaw, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

type Handlers = NonNullable<Parameters<typeof startSampleService>[0]>;
type Generate = NonNullable<Handlers['generate']>;

const DONE = 'data: [DONE]\n\n';

async function generate(handler: Generate, headers: Record<string, string> = {}) {
  const { url } = await startSampleService({ generate: handler });
  return sendRaw(`${url}/v1/generate`, { method: 'POST', body: '{}', headers });
}

/** The data of each named event of a stream's text. */
const eventsOf = (text: string) =>
  [...text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, name, data]) => ({ name, data: JSON.parse(data ?? '') }));

const count = (text: string, part: string) => text.split(part).length - 1;

describe('a stream', () => {
  it('carries its events, one terminal event, and [DONE]', async () => {
    const answer = await generate(async (_call, stream) => {
      expect(stream.opened).toBe(false);
      stream.send({ type: 'token', t: 'a' }, '1');
      expect([stream.opened, stream.terminated]).toEqual([true, false]);
      stream.send({ type: 'end' });
      expect(stream.terminated).toBe(true);
    });
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': expect.stringContaining('no-cache'),
        'x-accel-buffering': 'no',
      },
      text: `id: 1\nevent: token\ndata: {"type":"token","t":"a"}\n\nevent: end\ndata: {"type":"end"}\n\n${DONE}`,
    });
  });

  it('sends its status line and headers when it is opened', async () => {
    let end: () => void = () => undefined;
    const { url } = await startSampleService({
      generate: async (_call, stream) => {
        stream.open({ 'X-Request-Id': 'job-1' });
        stream.open({ 'X-Request-Id': 'ignored' });
        await new Promise<void>((resolve) => {
          end = resolve;
        });
        stream.send({ type: 'end' });
      },
    });
    const incoming = await openRaw(`${url}/v1/generate`, { method: 'POST', body: '{}' });
    expect([incoming.statusCode, incoming.headers['x-request-id']]).toEqual([200, 'job-1']);
    end();
    expect(Buffer.concat(await incoming.toArray()).toString()).toBe(`event: end\ndata: {"type":"end"}\n\n${DONE}`);
  });

  it('without names is told by its stages', async () => {
    const { url } = await startSampleService({
      progress: async (_call, stream) => {
        stream.send({ stage: 'loading' });
        stream.send({ stage: 'ready' });
      },
    });
    const { text } = await sendRaw(`${url}/v1/progress`);
    expect(text).toBe(`data: {"stage":"loading"}\n\ndata: {"stage":"ready"}\n\n${DONE}`);
  });

  it('does not end with a stage of a named event', async () => {
    const answer = await generate(async (_call, stream) => {
      stream.send({ type: 'token', t: 'a', stage: 'ready' } as never);
      stream.send({ type: 'end' });
    });
    expect(eventsOf(answer.text).map(({ name }) => name)).toEqual(['token', 'end']);
  });

  it('passes frames on as they are', async () => {
    const answer = await generate(async (_call, stream) => {
      stream.sendFrame('event: token\ndata: raw\n\n');
      stream.sendFrame('event: end\ndata: {}\n\n', true);
    });
    expect(answer.text).toBe(`event: token\ndata: raw\n\nevent: end\ndata: {}\n\n${DONE}`);
  });

  it('may be answered as JSON instead', async () => {
    const answer = await generate(async () => ({ text: 'whole' }));
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': expect.stringContaining('application/json') },
    });
    expect(answer.json()).toEqual({ text: 'whole' });
    const reply = await generate(async () => new Reply({ text: 'whole' }, 200, { 'X-Request-Id': 'job-1' }));
    expect([reply.headers['x-request-id'], reply.json()]).toEqual(['job-1', { text: 'whole' }]);
  });

  it('knows whether the caller asked for it', async () => {
    const handler: Generate = async ({ acceptsEventStream }) => ({ text: String(acceptsEventStream) });
    expect((await generate(handler, { Accept: 'text/event-stream' })).json()).toEqual({ text: 'true' });
    expect((await generate(handler)).json()).toEqual({ text: 'false' });
  });
});

describe('a failure', () => {
  it('before the first event is an answer with its status', async () => {
    const answer = await generate(async () => {
      throw new RbeeError('WORKER_NOT_READY', 'loading');
    });
    expect(answer).toMatchObject({
      status: 503,
      headers: { 'content-type': expect.stringContaining('application/json') },
    });
    expect(answer.json().error.code).toBe('WORKER_NOT_READY');
  });

  it('behind the first event is the terminal event', async () => {
    const answer = await generate(
      async ({ correlationId }, stream) => {
        stream.send({ type: 'token', t: 'a' });
        // As it comes from a peer that failed for another request.
        const options = { suggestion: 'again', correlationId: 'c-other' };
        throw new RbeeError('INFERENCE_FAILED', `engine of ${correlationId} broke`, options);
      },
      { 'X-Correlation-Id': 'c-1' },
    );
    expect(answer.status).toBe(200);
    expect(eventsOf(answer.text).at(-1)).toEqual({
      name: 'error',
      data: {
        type: 'error',
        code: 'INFERENCE_FAILED',
        message: 'engine of c-1 broke',
        details: { suggestion: 'again' },
        status: 500,
        retryable: false,
        correlation_id: 'c-1',
      },
    });
    expect(answer.text.endsWith(`\n\n${DONE}`)).toBe(true);
  });

  it('of an unnamed stream is told by its stage', async () => {
    const { url } = await startSampleService({
      progress: async (_call, stream) => {
        stream.send({ stage: 'loading' });
        throw new RbeeError('MODEL_LOAD_FAILED', 'bad file');
      },
    });
    const frames = (await sendRaw(`${url}/v1/progress`)).text.split('\n\n');
    expect(JSON.parse(frames[1]?.slice('data: '.length) ?? '')).toMatchObject({
      stage: 'error',
      code: 'MODEL_LOAD_FAILED',
      message: 'bad file',
    });
    expect(frames.slice(2)).toEqual(['data: [DONE]', '']);
  });

  it.each<[string, Generate]>([
    [
      'throws',
      async (_call, stream) => {
        stream.send({ type: 'end' });
        throw new Error('late');
      },
    ],
    [
      'sends on',
      async (_call, stream) => {
        stream.send({ type: 'end' });
        stream.send({ type: 'token', t: 'late' });
      },
    ],
    [
      'ends twice',
      async (_call, stream) => {
        stream.send({ type: 'end' });
        stream.send({ type: 'error', code: 'X', message: 'late' });
      },
    ],
    [
      'returns',
      async (_call, stream) => {
        stream.send({ type: 'end' });
        return { text: 'late' };
      },
    ],
  ])('behind the terminal event changes nothing: a handler that %s', async (_name, handler) => {
    const { text } = await generate(handler);
    expect(text).toBe(`event: end\ndata: {"type":"end"}\n\n${DONE}`);
  });

  it.each<[string, Generate]>([
    ['without a word', async () => undefined],
    [
      'without a terminal event',
      async (_call, stream) => {
        stream.send({ type: 'token', t: 'a' });
      },
    ],
  ])('is a handler that returns %s', async (_name, handler) => {
    const { text } = await generate(handler);
    expect(count(text, 'INTERNAL_ERROR')).toBe(1);
  });

  it('by the deadline ends an open stream', async () => {
    const clock = new ManualClock(Date.UTC(2030, 0, 1));
    const { url } = await startSampleService(
      {
        generate: async ({ signal }, stream) => {
          stream.open();
          await once(signal, 'abort');
          throw signal.reason;
        },
      },
      { clock },
    );
    const headers = { 'X-Request-Deadline': '2030-01-01T00:00:05Z' };
    const incoming = await openRaw(`${url}/v1/generate`, { method: 'POST', body: '{}', headers });
    await clock.advance(5000);
    const text = Buffer.concat(await incoming.toArray()).toString();
    expect(eventsOf(text)).toMatchObject([{ name: 'error', data: { code: 'REQUEST_TIMEOUT', status: 408 } }]);
    expect(text.endsWith(DONE)).toBe(true);
    expect(clock.pending).toBe(0);
  });
});

describe('an idle stream', () => {
  it('is kept alive by a comment every ten seconds, and by none after its end', async () => {
    const clock = new ManualClock();
    let end: () => void = () => undefined;
    const { url } = await startSampleService(
      {
        generate: async (_call, stream) => {
          stream.open();
          await new Promise<void>((resolve) => {
            end = resolve;
          });
          stream.send({ type: 'end' });
        },
      },
      { clock },
    );
    const incoming = await openRaw(`${url}/v1/generate`, { method: 'POST', body: '{}' });
    const chunks = incoming[Symbol.asyncIterator]();
    await clock.advance(9_999);
    await clock.advance(1);
    expect(String((await chunks.next()).value)).toBe(': keep-alive\n\n');
    await clock.advance(10_000);
    expect(String((await chunks.next()).value)).toBe(': keep-alive\n\n');
    end();
    let rest = '';
    for await (const chunk of { [Symbol.asyncIterator]: () => chunks }) rest += chunk;
    expect(rest).toBe(`event: end\ndata: {"type":"end"}\n\n${DONE}`);
    expect(clock.pending).toBe(0);
  });
});

it('a stream that has ended is not kept alive, also while its reader is behind', async () => {
  const clock = new ManualClock();
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const { url } = await startSampleService(
    {
      generate: async (_call, stream) => {
        for (let i = 0; i < 200; i++) stream.send({ type: 'token', t: 'x'.repeat(65536) });
        stream.send({ type: 'end' });
        end();
      },
    },
    { clock },
  );
  const incoming = await openRaw(`${url}/v1/generate`, { method: 'POST', body: '{}' });
  await ended;
  await clock.advance(60_000);
  expect(clock.pending).toBe(0);
  expect(
    Buffer.concat(await incoming.toArray())
      .toString()
      .endsWith(DONE),
  ).toBe(true);
});

describe('a reader', () => {
  it('that is behind holds the writer back until it has caught up', async () => {
    let sent = 0;
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const { url } = await startSampleService({
      generate: async ({ signal }, stream) => {
        for (sent = 0; sent < 200; sent++) {
          if (stream.send({ type: 'token', t: 'x'.repeat(65536) })) continue;
          stop();
          await stream.drained(signal);
        }
        stream.send({ type: 'end' });
      },
    });
    const incoming = await openRaw(`${url}/v1/generate`, { method: 'POST', body: '{}' });
    await stopped;
    expect(sent).toBeLessThan(200);
    const text = Buffer.concat(await incoming.toArray()).toString();
    expect(eventsOf(text)).toHaveLength(201);
    expect(text.endsWith(DONE)).toBe(true);
  });

  it('that goes away ends the wait with CANCELLED', async () => {
    const clock = new ManualClock();
    let ended: (error: unknown) => void = () => undefined;
    const outcome = new Promise<unknown>((resolve) => {
      ended = resolve;
    });
    const { port } = await startSampleService(
      {
        generate: async ({ signal }, stream) => {
          try {
            for (;;) if (!stream.send({ type: 'token', t: 'x'.repeat(65536) })) await stream.drained(signal);
          } catch (error) {
            ended(error);
            throw error;
          }
        },
      },
      { clock },
    );
    const socket = connect(port, '127.0.0.1');
    socket.write('POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}');
    await once(socket, 'readable');
    socket.destroy();
    expect(await outcome).toMatchObject({ code: 'CANCELLED' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.pending).toBe(0);
  });

  it('that has gone is written to without harm', async () => {
    let done: (results: unknown) => void = () => undefined;
    const outcome = new Promise<unknown>((resolve) => {
      done = resolve;
    });
    const { url, port } = await startSampleService({
      generate: async ({ signal }, stream) => {
        stream.open();
        await once(signal, 'abort');
        const behind = stream.send({ type: 'token', t: 'late' });
        const drained = await stream.drained(signal).catch((error: RbeeError) => error.code);
        const other = await stream.drained(new AbortController().signal).catch((error: RbeeError) => error.code);
        stream.send({ type: 'end' });
        done([behind, drained, other]);
      },
    });
    const socket = connect(port, '127.0.0.1');
    socket.write('POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}');
    await once(socket, 'readable');
    socket.destroy();
    expect(await outcome).toEqual([false, 'CANCELLED', 'CANCELLED']);
    expect((await sendRaw(`${url}/health`)).status).toBe(200);
  });

  it('of text holds the writer back as well', async () => {
    const { url } = await startSampleService({
      logs: async ({ signal }, stream) => {
        for (let i = 0; i < 100; i++) if (!stream.write('x'.repeat(65536))) await stream.drained(signal);
      },
    });
    expect((await sendRaw(`${url}/v1/logs`)).text).toHaveLength(100 * 65536);
  });
});
