import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type Listening, type ListenOptions, listen } from './listen.js';
import { Secret } from './secret-file.js';
import { ManualClock } from './testing/manual-clock.js';
import { startSampleService, stopSampleServices } from './testing/sample-service.js';

const sockets: Socket[] = [];
const started: Listening[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const { close } of started.splice(0)) await close(0);
  await stopSampleServices();
});

/** A bare connection on which something has been sent. */
function open(port: number, text: string): Socket {
  const socket = connect({ port, host: '127.0.0.1' });
  // What the service breaks off is seen by its end.
  socket.on('error', () => undefined);
  socket.write(text);
  sockets.push(socket);
  return socket;
}

/** The first answer on a connection, with its body read as JSON. */
async function answerOn(socket: Socket) {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const [head = '', body = ''] = text.split('\r\n\r\n');
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    if (length !== undefined && Buffer.byteLength(body) >= Number(length)) {
      return { status: Number(head.split(' ')[1]), head: head.toLowerCase(), error: JSON.parse(body).error };
    }
  }
  throw new Error(`the connection ended without an answer: ${text}`);
}

const GET = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n';
const post = (headers: string) => `POST /v1/echo HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`;

describe('what is no request', () => {
  const start = async (options: ListenOptions = {}) => {
    const listening = await listen(
      'sample',
      (_request, response) => response.end('ok'),
      { host: '127.0.0.1', port: 0 },
      options,
    );
    started.push(listening);
    return listening.port;
  };

  it.each([
    ['no HTTP', 'hello\r\n\r\n', 400, 'INVALID_REQUEST', 'not_http'],
    ['without a host', 'GET / HTTP/1.1\r\n\r\n', 400, 'INVALID_REQUEST', 'not_http'],
    ['of a broken length', post('Content-Length: -1'), 400, 'INVALID_REQUEST', 'not_http'],
    ['of two lengths', post('Content-Length: 1\r\nTransfer-Encoding: chunked'), 400, 'INVALID_REQUEST', 'not_http'],
    ['of large headers', post(`X-Large: ${'x'.repeat(20_000)}`), 413, 'PAYLOAD_TOO_LARGE', 'headers_too_large'],
  ])('has the envelope as well: %s', async (_what, text, status, code, reason) => {
    const port = await start();
    const answer = await answerOn(open(port, text));
    expect(answer).toMatchObject({ status, error: { code, details: { reason }, correlation_id: expect.any(String) } });
    expect(answer.head).toContain('connection: close');
    expect(answer.head).toContain(`x-correlation-id: ${answer.error.correlation_id}`);
  });

  it('does not come for ever: headers', async () => {
    const port = await start({ limits: { headersMs: 100 } });
    const answer = await answerOn(open(port, 'GET / HTTP/1.1\r\nHost: x\r\n'));
    expect(answer).toMatchObject({
      status: 408,
      error: { code: 'REQUEST_TIMEOUT', details: { reason: 'slow_sender' } },
    });
  });

  it('comes on one connection too many, until another is closed', async () => {
    const port = await start({ limits: { connections: 1 } });
    const first = open(port, GET);
    await once(first, 'data');
    const surplus = await answerOn(open(port, GET));
    expect(surplus).toMatchObject({
      status: 429,
      error: { code: 'TOO_MANY_REQUESTS', retryable: true, details: { reason: 'too_many_connections', limit: 1 } },
    });
    expect(surplus.head).toContain('retry-after: 1');
    const ended = once(first.resume(), 'close');
    first.end();
    await ended;
    // The service sees the end of both a moment later than they do.
    const statusNow = async () => {
      const next = open(port, GET);
      return String((await once(next, 'data'))[0]).split(' ')[1];
    };
    let status = await statusNow();
    while (status === '429') status = await statusNow();
    expect(status).toBe('200');
  });
});

describe('a body', () => {
  it('that is too large is refused before its end has come, declared or not, also where none is read', async () => {
    const { port } = await startSampleService({}, { bodyLimit: 1000 });
    const kilobytes = `800\r\n${'x'.repeat(0x800)}\r\n`;
    for (const text of [
      post('Content-Length: 2000'),
      `${post('Transfer-Encoding: chunked')}${kilobytes}`,
      'DELETE /v1/items/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n',
    ]) {
      const answer = await answerOn(open(port, text));
      expect(answer).toMatchObject({
        status: 413,
        error: { code: 'PAYLOAD_TOO_LARGE', details: { limit_bytes: 1000 } },
      });
    }
  });

  it('may be as large as its request makes it', async () => {
    const bodyLimit = (headers: Record<string, unknown>) => (headers['x-large'] === '1' ? 1000 : 10);
    const { port } = await startSampleService({}, { bodyLimit });
    const body = '{"text":"123456789"}';
    const send = (extra: string) => answerOn(open(port, post(`Content-Length: ${body.length}${extra}`) + body));
    expect((await send('')).status).toBe(413);
    expect((await send('\r\nX-Large: 1')).status).toBe(202);
  });

  it('that is not packed as it says is a bad request', async () => {
    const { port } = await startSampleService();
    const answer = await answerOn(open(port, `${post('Content-Encoding: gzip\r\nContent-Length: 5')}abcde`));
    expect(answer).toMatchObject({
      status: 400,
      error: { code: 'INVALID_REQUEST', details: { reason: 'bad_encoding' } },
    });
  });

  it('that brings nothing for 10 s is given up', async () => {
    const clock = new ManualClock();
    const { port } = await startSampleService({}, { clock });
    const socket = open(port, `${post('Content-Length: 100')}{`);
    while (clock.pending === 0) await new Promise((resolve) => setImmediate(resolve));
    const answer = answerOn(socket);
    await clock.advance(10_000);
    expect(await answer).toMatchObject({
      status: 408,
      error: { details: { reason: 'slow_sender', limit_ms: 10_000 } },
    });
    expect((await answer).head).toContain('connection: close');
    if (!socket.closed) await once(socket, 'close');
    expect(clock.pending).toBe(0);
  });

  it('that nobody reads may end, and its connection serves on', async () => {
    const { port } = await startSampleService({}, { key: new Secret('k') });
    const socket = open(port, post('Content-Length: 10'));
    expect((await answerOn(socket)).status).toBe(401);
    socket.write(`0123456789${GET}`);
    expect((await answerOn(socket)).status).toBe(200);
  });

  it('that nobody reads does not come for ever', async () => {
    const clock = new ManualClock();
    const { port } = await startSampleService({}, { key: new Secret('k'), clock });
    const socket = open(port, post('Content-Length: 1000'));
    expect((await answerOn(socket)).status).toBe(401);
    const closed = once(socket.resume(), 'close');
    await clock.advance(2_000);
    await closed;
    expect(clock.pending).toBe(0);
  });
});
