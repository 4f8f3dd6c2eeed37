import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Reply } from './serve.js';
import { defer, openRaw, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('an answer', () => {
  it('of JSON has the first status of its route', async () => {
    const { url } = await startSampleService();
    const answer = await sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{"text":"ab","count":2,"unknown":1}' });
    expect(answer).toMatchObject({ status: 202, headers: { 'content-type': 'application/json; charset=utf-8' } });
    expect(answer.json()).toEqual({ text: 'abab' });
  });

  it('may have another status and headers', async () => {
    const { url } = await startSampleService({ echo: async () => new Reply({ text: 'x' }, 200, { 'X-Extra': 'y' }) });
    const answer = await sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{"text":""}' });
    expect(answer).toMatchObject({ status: 200, headers: { 'x-extra': 'y' }, text: '{"text":"x"}' });
  });

  it('may be empty', async () => {
    const { url } = await startSampleService();
    expect(await sendRaw(`${url}/v1/items/a`, { method: 'DELETE' })).toMatchObject({ status: 204, text: '' });
  });

  it('of text goes out as it is written', async () => {
    const gate = defer();
    const { url } = await startSampleService({
      logs: async (_call, stream) => {
        stream.write('first\n');
        await gate.promise;
        stream.write('second\n');
      },
    });
    const incoming = await openRaw(`${url}/v1/logs`);
    expect(incoming.headers['content-type']).toBe('text/plain; charset=utf-8');
    const chunks = incoming[Symbol.asyncIterator]();
    expect(String((await chunks.next()).value)).toBe('first\n');
    gate.resolve();
    expect(String((await chunks.next()).value)).toBe('second\n');
    expect((await chunks.next()).done).toBe(true);
  });

  it('of text begins with an empty write, so that a caller who follows is not kept waiting', async () => {
    const gate = defer();
    const { url } = await startSampleService({
      logs: async (_call, stream) => {
        stream.write('');
        await gate.promise;
      },
    });
    const incoming = await openRaw(`${url}/v1/logs`);
    expect(incoming.statusCode).toBe(200);
    gate.resolve();
    expect(await incoming.toArray()).toEqual([]);
  });

  it('of text may be without any', async () => {
    const { url } = await startSampleService({ logs: async () => undefined });
    expect(await sendRaw(`${url}/v1/logs`)).toMatchObject({ status: 200, text: '' });
  });

  it('is the same on every alias', async () => {
    const { url } = await startSampleService();
    expect((await sendRaw(`${url}/v1/health`)).json()).toEqual({ status: 'ok' });
    const answer = await sendRaw(`${url}/v1/repeat`, { method: 'PUT', body: '{"text":"a"}' });
    expect(answer.json()).toEqual({ text: 'a' });
  });

  it('comes from the plain path before the one with a parameter', async () => {
    const { url } = await startSampleService();
    expect((await sendRaw(`${url}/v1/items/list`)).json()).toEqual({ text: 'the list' });
  });

  it('to HEAD has the headers of GET and no body', async () => {
    const { url } = await startSampleService();
    const answer = await sendRaw(`${url}/health`, { method: 'HEAD' });
    expect(answer).toMatchObject({ status: 200, text: '', headers: { 'content-length': '15' } });
  });

  it('names the service no more than it must', async () => {
    const { url } = await startSampleService();
    expect((await sendRaw(`${url}/health`)).headers).not.toHaveProperty('x-powered-by');
  });
});

describe('a path parameter', () => {
  it('is decoded, and checked', async () => {
    const { url } = await startSampleService();
    expect((await sendRaw(`${url}/v1/items/a%20b?lines=5`)).json()).toEqual({ text: 'a b 5' });
    const bad = await sendRaw(`${url}/v1/items/a%2Fb`);
    expect(bad.status).toBe(400);
    expect(bad.json().error).toMatchObject({ code: 'INVALID_REQUEST', details: { errors: [{ field: 'item_id' }] } });
  });

  it.each(['%', '%zz', '%E0%A4%A', '%00', '%0a', '..', '%2e%2e', '%c3%28'])(
    'that is hostile is a bad request: %s',
    async (part) => {
      const { url } = await startSampleService();
      const answer = await sendRaw(`${url}/v1/items/${part}`);
      expect([answer.status, answer.json().error.code]).toEqual([400, 'INVALID_REQUEST']);
    },
  );
});

describe('a request that cannot be answered', () => {
  const post = (url: string, body: string | Buffer, headers = {}) =>
    sendRaw(`${url}/v1/echo`, { method: 'POST', body, headers });

  it.each(['{', '{"text":}', 'text', '{"text":"a"}}', '\ufffd'])('holds malformed JSON: %s', async (body) => {
    const { url } = await startSampleService();
    const answer = await post(url, body);
    expect(answer.status).toBe(400);
    expect(answer.json().error).toMatchObject({ code: 'INVALID_REQUEST', retryable: false, details: {} });
    expect(answer.text).not.toContain('at position');
  });

  it.each(['null', '[]', '5', '"text"', '{}', '', '{"text":5,"count":0}'])(
    'holds JSON of another shape: %s',
    async (body) => {
      const { url } = await startSampleService();
      const answer = await post(url, body);
      expect(answer.json().error).toMatchObject({ code: 'INVALID_REQUEST', details: { errors: expect.any(Array) } });
    },
  );

  it('reports every bad field at once', async () => {
    const { url } = await startSampleService();
    const { error } = (await post(url, '{"text":5,"count":0}')).json();
    expect(error.details.errors).toMatchObject([{ field: 'text' }, { field: 'count' }]);
  });

  it('has a body that is too large, declared or not', async () => {
    const { url } = await startSampleService();
    const large = JSON.stringify({ text: 'x'.repeat(2 ** 20) });
    for (const headers of [{ 'Content-Length': String(large.length) }, { 'Transfer-Encoding': 'chunked' }]) {
      const answer = await post(url, large, headers);
      expect(answer.status).toBe(413);
      expect(answer.json().error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', details: { limit_bytes: 2 ** 20 } });
    }
  });

  it('has a body that is larger than the configured limit', async () => {
    const { url } = await startSampleService({}, { bodyLimit: 20 });
    expect((await post(url, '{"text":"123456789012"}')).status).toBe(413);
    expect((await post(url, '{"text":"a"}')).status).toBe(202);
  });

  it.each([
    ['Content-Encoding', 'br7'],
    ['Content-Type', 'application/json; charset=klingon'],
  ])('has an unknown %s', async (name, value) => {
    const { url } = await startSampleService();
    const answer = await post(url, '{"text":"a"}', { [name]: value });
    expect([answer.status, answer.json().error.code]).toEqual([400, 'INVALID_REQUEST']);
  });

  it.each(['/', '/v1', '/v1/echo/more', '/HEALTH', '/v1/items', '/v1//echo', '/%zz'])(
    'has no route: %s',
    async (path) => {
      const { url } = await startSampleService();
      const answer = await sendRaw(`${url}${path}`);
      expect([answer.status, answer.json().error.code]).toEqual([404, 'NOT_FOUND']);
    },
  );

  it.each([
    ['GET', '/v1/echo', 'POST'],
    ['OPTIONS', '/v1/echo', 'POST'],
    ['PATCH', '/v1/items/a', 'GET, DELETE'],
    ['POST', '/health', 'GET'],
    ['HEAD', '/v1/echo', 'POST'],
    ['HEAD', '/v1/logs', 'GET'],
    ['HEAD', '/v1/progress', 'GET'],
  ])('has the wrong method: %s %s', async (method, path, allow) => {
    const { url } = await startSampleService();
    const answer = await sendRaw(`${url}${path}`, { method });
    expect(answer).toMatchObject({
      status: 405,
      headers: { allow, 'content-type': expect.stringContaining('application/json') },
    });
    if (method !== 'HEAD') expect(answer.json().error.code).toBe('METHOD_NOT_ALLOWED');
  });

  it('is no HTTP at all, and the service goes on', async () => {
    const { url, port } = await startSampleService();
    const socket = connect(port, '127.0.0.1');
    socket.end('\u0000\u0001 garbage\r\n\r\n');
    await once(socket.resume(), 'close');
    expect((await sendRaw(`${url}/health`)).status).toBe(200);
  });
});

describe('a correlation id', () => {
  it.each(['c-1', 'A_b', 'x'.repeat(64)])('is taken over: %s', async (id) => {
    let seen = '';
    const { url } = await startSampleService({
      getItem: async ({ correlationId }) => {
        seen = correlationId;
        return { text: '' };
      },
    });
    const answer = await sendRaw(`${url}/v1/items/a`, { headers: { 'X-Correlation-Id': id } });
    expect([answer.headers['x-correlation-id'], seen]).toEqual([id, id]);
  });

  it.each([undefined, '', 'x'.repeat(65), 'a b', 'a.b', '<script>'])('is replaced: %s', async (id) => {
    const { url } = await startSampleService();
    const headers: Record<string, string> = id === undefined ? {} : { 'X-Correlation-Id': id };
    for (const path of ['/health', '/nowhere']) {
      expect((await sendRaw(`${url}${path}`, { headers })).headers['x-correlation-id']).toMatch(UUID);
    }
  });
});

it('many calls at once, half of them bad, are each answered by their own', async () => {
  const { url } = await startSampleService();
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_item, i) =>
      sendRaw(`${url}/v1/echo`, { method: 'POST', body: i % 2 ? `{"text":"${i}"}` : '{"text":1}' }),
    ),
  );
  for (const [i, answer] of answers.entries()) {
    expect(answer.status).toBe(i % 2 ? 202 : 400);
    if (i % 2) expect(answer.json()).toEqual({ text: String(i) });
  }
});
