import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { createLogger } from './logger.js';
import { Secret } from './secret-file.js';
import { type Call, Reply } from './serve.js';
import { ManualClock } from './testing/manual-clock.js';
import { openRaw, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A promise and its way to be settled. */
function defer<T = void>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Settles with the reason when a call is aborted. */
const abortOf = (call: Pick<Call, 'signal'>) =>
  new Promise<RbeeError>((resolve) => call.signal.addEventListener('abort', () => resolve(call.signal.reason)));

function memoryLog() {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { lines, log: createLogger({ service: 'sample', level: 'debug', destinations: [destination] }) };
}

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

describe('what a handler throws', () => {
  const failing = async (error: unknown) => {
    const { lines, log } = memoryLog();
    const fail = async () => {
      throw error;
    };
    const { url } = await startSampleService({ getItem: fail }, { log });
    return { answer: await sendRaw(`${url}/v1/items/a`, { headers: { 'X-Correlation-Id': 'c-1' } }), lines };
  };

  it('with a code is the envelope of that code', async () => {
    const error = new RbeeError('NODE_NOT_FOUND', 'node mac is not known', {
      details: { node: 'mac' },
      suggestion: 'rbee-keeper setup add-node',
    });
    const { answer } = await failing(error);
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({
      error: {
        code: 'NODE_NOT_FOUND',
        message: 'node mac is not known',
        details: { node: 'mac', suggestion: 'rbee-keeper setup add-node' },
        retryable: false,
        correlation_id: 'c-1',
      },
    });
  });

  it.each([
    new Error('ENOENT /root/secret'),
    'text',
    undefined,
    null,
    'route',
    { status: 404, type: 'x' },
    new URIError('own'),
  ])('without one is an internal error that tells nothing: %p', async (error) => {
    const { answer, lines } = await failing(error);
    expect(answer.status).toBe(500);
    expect(answer.json().error).toMatchObject({ code: 'INTERNAL_ERROR', correlation_id: 'c-1' });
    expect(answer.text).not.toContain('secret');
    const logged = lines.find(({ level }) => level === 'error');
    expect(logged).toMatchObject({ error_code: 'INTERNAL_ERROR', correlation_id: 'c-1' });
  });

  it('is logged with its stack when the service is at fault, without one when the caller is', async () => {
    const own = await failing(new RbeeError('MODEL_LOAD_FAILED', 'bad file'));
    expect(own.lines.at(-1)).toMatchObject({
      level: 'error',
      error_code: 'MODEL_LOAD_FAILED',
      error: { stack: expect.any(String) },
    });
    const theirs = await failing(new RbeeError('NOT_FOUND', 'no'));
    expect(theirs.lines.at(-1)).toMatchObject({ level: 'info', error_code: 'NOT_FOUND', status: 404 });
    expect(theirs.lines.at(-1)).not.toHaveProperty('error');
  });

  it('has details that are no JSON comes through without them', async () => {
    const { answer } = await failing(new RbeeError('NOT_FOUND', 'no', { details: { size: 1n } }));
    expect(answer.status).toBe(404);
    expect(answer.json().error).toMatchObject({ code: 'NOT_FOUND', details: {} });
  });

  it.each([
    [new RbeeError('ALL_SLOTS_BUSY', 'busy', { details: { slots_total: 4, slots_busy: 4 } }), '1'],
    [new RbeeError('QUEUE_FULL', 'full', { details: { retry_after_seconds: 7.2 } }), '8'],
    [new RbeeError('TOO_MANY_REQUESTS', 'slow down', { details: { retry_after_seconds: 'x\r\ny' } }), '1'],
    [new RbeeError('QUOTA_EXCEEDED', 'used up'), '1'],
    [new RbeeError('BACKEND_UNAVAILABLE', 'no cuda'), undefined],
    [new RbeeError('NOT_FOUND', 'no'), undefined],
  ])('says when to come back: %s', async (error, seconds) => {
    const { answer } = await failing(error);
    expect(answer.headers['retry-after']).toBe(seconds);
  });

  it('about slots has the figures also where older readers look', async () => {
    const { answer } = await failing(
      new RbeeError('ALL_SLOTS_BUSY', 'busy', { details: { slots_total: 4, slots_busy: 4 } }),
    );
    expect(answer.json().error).toMatchObject({
      slots_total: 4,
      slots_busy: 4,
      details: { slots_total: 4, slots_busy: 4 },
    });
  });

  it('behind the first text breaks the answer off', async () => {
    const { url } = await startSampleService({
      logs: async (_call, stream) => {
        stream.write('first\n');
        throw new RbeeError('INTERNAL_ERROR', 'no');
      },
    });
    const incoming = await openRaw(`${url}/v1/logs`);
    await expect(incoming.toArray()).rejects.toThrow('aborted');
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

describe('a key', () => {
  const key = new Secret('s3cret, with: "characters"');
  const start = async () => {
    const { lines, log } = memoryLog();
    const calls: string[] = [];
    const service = await startSampleService({}, { key, log, onCall: (name) => calls.push(name) });
    const ask = (authorization?: string, path = '/v1/items/a', method = 'GET') =>
      sendRaw(`${service.url}${path}`, {
        method,
        headers: authorization === undefined ? {} : { Authorization: authorization },
      });
    return { ...service, ask, lines, calls };
  };

  it('lets its holder in and is logged by its fingerprint', async () => {
    const { ask, lines, calls } = await start();
    expect((await ask(`Bearer ${key.reveal()}`)).status).toBe(200);
    expect(calls).toEqual(['getItem']);
    expect(lines).toMatchObject([
      { level: 'info', msg: 'authenticated', identity: key.fingerprint, correlation_id: expect.stringMatching(UUID) },
    ]);
  });

  it.each([
    [undefined, 'MISSING_API_KEY', 'missing_header'],
    ['Bearer', 'MISSING_API_KEY', 'empty_token'],
    ['Bearer   ', 'MISSING_API_KEY', 'empty_token'],
    ['', 'MISSING_API_KEY', 'invalid_format'],
    ['bearer key', 'MISSING_API_KEY', 'invalid_format'],
    ['Bearer  key', 'MISSING_API_KEY', 'invalid_format'],
    ['Bearerkey', 'MISSING_API_KEY', 'invalid_format'],
    ['Basic key', 'MISSING_API_KEY', 'invalid_format'],
    ['Bearer wrong', 'INVALID_API_KEY', 'invalid_token'],
  ])('is needed: %j gives %s', async (authorization, code, reason) => {
    const { ask, lines, calls } = await start();
    const answer = await ask(authorization);
    expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect(answer.json().error).toMatchObject({ code, details: { reason } });
    expect(lines.find(({ level }) => level === 'warn')).toMatchObject({
      reason,
      correlation_id: expect.stringMatching(UUID),
    });
    expect(JSON.stringify(lines)).not.toMatch(/wrong|s3cret/);
    expect(calls).toEqual([]);
  });

  it('is needed for every method of every route but health', async () => {
    const { ask } = await start();
    for (const path of ['/v1/echo', '/v1/items/a', '/v1/generate', '/v1/logs']) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
        expect([path, method, (await ask(undefined, path, method)).status]).toEqual([path, method, 401]);
    }
    expect((await ask(undefined, '/health')).status).toBe(200);
    expect((await ask(undefined, '/v1/health')).status).toBe(200);
    expect((await ask(undefined, '/health', 'POST')).status).toBe(405);
  });

  it('is asked for before the body is looked at', async () => {
    const { url } = await start();
    expect((await sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{' })).status).toBe(401);
  });
});

describe('a deadline', () => {
  const clock = () => new ManualClock(Date.UTC(2030, 0, 1));
  const waiting = async (time: ManualClock) => {
    const arrived = defer<Call>();
    const service = await startSampleService(
      {
        getItem: async (call) => {
          arrived.resolve(call as unknown as Call);
          throw await abortOf(call);
        },
      },
      { clock: time },
    );
    return { ...service, arrived: arrived.promise };
  };

  it.each([
    ['X-Request-Deadline', '2029-12-31T23:59:59Z'],
    ['X-Request-Deadline', '2030-01-01T00:00:00Z'],
    ['X-Deadline', String(Date.UTC(2029, 0, 1))],
  ])('that has passed is refused at once: %s %s', async (name, value) => {
    const time = clock();
    const { url } = await startSampleService({}, { clock: time });
    const answer = await sendRaw(`${url}/v1/items/a`, { headers: { [name]: value } });
    expect(answer.status).toBe(408);
    const deadline = new Date(/^\d+$/.test(value) ? Number(value) : value).toISOString();
    expect(answer.json().error).toMatchObject({ code: 'REQUEST_TIMEOUT', details: { deadline } });
    expect(time.pending).toBe(0);
  });

  it('that passes aborts the call', async () => {
    const time = clock();
    const { url, arrived } = await waiting(time);
    const answer = sendRaw(`${url}/v1/items/a`, { headers: { 'X-Request-Deadline': '2030-01-01T00:00:02.000Z' } });
    expect((await arrived).deadline).toBe(Date.UTC(2030, 0, 1) + 2000);
    await time.advance(1999);
    expect((await arrived).signal.aborted).toBe(false);
    await time.advance(1);
    expect((await answer).json().error).toMatchObject({
      code: 'REQUEST_TIMEOUT',
      details: { deadline: '2030-01-01T00:00:02.000Z' },
    });
    expect(time.pending).toBe(0);
  });

  it('leaves no timer behind an answer, nor behind a request that is refused', async () => {
    const time = clock();
    const { url } = await startSampleService({}, { clock: time });
    const headers = { 'X-Request-Deadline': '2030-01-01T01:00:00Z' };
    expect((await sendRaw(`${url}/v1/items/a`, { headers })).status).toBe(200);
    expect((await sendRaw(`${url}/v1/items/a%2Fb`, { headers })).status).toBe(400);
    expect(time.pending).toBe(0);
  });

  it.each(['soon', '-1', '99999999999999999999', 'Infinity', '2030-99-99T00:00:00Z', '275761-01-01T00:00:00Z'])(
    'that is none is ignored: %s',
    async (value) => {
      let deadline: number | undefined = 0;
      const { url } = await startSampleService({
        getItem: async (call) => {
          deadline = call.deadline;
          return { text: '' };
        },
      });
      expect((await sendRaw(`${url}/v1/items/a`, { headers: { 'X-Request-Deadline': value } })).status).toBe(200);
      expect(deadline).toBeUndefined();
    },
  );

  it("in the far future does not abort early on the machine's own clock", async () => {
    const { url } = await startSampleService({
      getItem: async ({ signal }) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return { text: String(signal.aborted) };
      },
    });
    const answer = await sendRaw(`${url}/v1/items/a`, { headers: { 'X-Request-Deadline': '9999-12-31T00:00:00Z' } });
    expect(answer.json()).toEqual({ text: 'false' });
  });

  it('explains an AbortError of the platform', async () => {
    const time = clock();
    const arrived = defer();
    const { url } = await startSampleService(
      {
        getItem: async ({ signal }) => {
          arrived.resolve();
          await once(new EventTarget(), 'never', { signal });
          return { text: '' };
        },
      },
      { clock: time },
    );
    const answer = sendRaw(`${url}/v1/items/a`, { headers: { 'X-Request-Deadline': '2030-01-01T00:00:02Z' } });
    await arrived.promise;
    await time.advance(2000);
    expect((await answer).json().error.code).toBe('REQUEST_TIMEOUT');
  });
});

describe('a client that goes away', () => {
  it('aborts the call with CANCELLED', async () => {
    const arrived = defer();
    const ended = defer<RbeeError>();
    const { port } = await startSampleService({
      getItem: async (call) => {
        arrived.resolve();
        const reason = await abortOf(call);
        ended.resolve(reason);
        throw reason;
      },
    });
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /v1/items/a HTTP/1.1\r\nHost: x\r\n\r\n');
    await arrived.promise;
    socket.destroy();
    expect(await ended.promise).toMatchObject({ code: 'CANCELLED', status: 499 });
  });

  it('while its body is read does no harm', async () => {
    const { url, port, server } = await startSampleService();
    const socket = connect(port, '127.0.0.1');
    socket.write('POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"te');
    const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
    const closed = once(response, 'close');
    socket.destroy();
    await closed;
    expect((await sendRaw(`${url}/health`)).status).toBe(200);
  });

  it('is not made out of an answer that was sent', async () => {
    const calls: AbortSignal[] = [];
    const { url, server } = await startSampleService({
      getItem: async ({ signal }) => {
        calls.push(signal);
        return { text: '' };
      },
    });
    const closed = new Promise((resolve) =>
      server.once('request', (_request, response) => response.once('close', resolve)),
    );
    await sendRaw(`${url}/v1/items/a`);
    await closed;
    expect(calls[0]?.aborted).toBe(false);
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
