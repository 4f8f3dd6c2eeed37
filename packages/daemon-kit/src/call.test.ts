import { getEventListeners, once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError, type SseMessage, VERSION } from '@rbee/protocol';
import { callJson, callStream, callText, readEvent, type Target } from './call.js';
import { systemClock } from './clock.js';
import { Secret } from './secret-file.js';
import { ManualClock } from './testing/manual-clock.js';
import { sampleEvent, sampleRoutes, startSampleService, stopSampleServices } from './testing/sample-service.js';
import { httpTransport, type Transport, type TransportRequest } from './transport.js';

const servers: Server[] = [];
const transports: Transport[] = [];

afterEach(async () => {
  await stopSampleServices();
  for (const transport of transports.splice(0)) transport.close();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve).closeAllConnections());
});

/** A peer that answers as it likes. */
async function startPeer(
  respond: (response: ServerResponse, path: string) => void,
  clock = systemClock,
): Promise<Target> {
  const server = createServer((request, response) => respond(response, request.url ?? ''));
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const transport = httpTransport({
    name: 'rbee-hive',
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  });
  transports.push(transport);
  return { transport, clock };
}

/** A transport that answers from memory and remembers what it was asked. */
function memoryTransport(status: number, text: string) {
  const asked: { path: string; request: TransportRequest }[] = [];
  const transport: Transport = {
    peer: { name: 'rbee-hive', url: 'memory:' },
    close: () => undefined,
    send: async (path, request) => {
      asked.push({ path, request });
      return { status, headers: {}, body: Readable.from([Buffer.from(text)]) };
    },
  };
  return { asked, target: { transport, clock: systemClock } };
}

async function collect(messages: AsyncIterable<SseMessage>): Promise<SseMessage[]> {
  const all: SseMessage[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

describe('a request', () => {
  it('carries path, query, body and headers', async () => {
    const { asked, target } = memoryTransport(200, '{"text":""}');
    const deadline = Date.UTC(2030, 0, 1);
    const key = new Secret('k 1');
    await callJson({ ...target, key }, sampleRoutes.getItem, {
      params: { item_id: 'a/b ä' },
      query: { lines: '5&6' },
      correlationId: 'c-1',
      deadline,
    });
    await callJson(target, sampleRoutes.echo, { body: { text: 'ä' } });
    expect(asked).toMatchObject([
      {
        path: '/v1/items/a%2Fb%20%C3%A4?lines=5%266',
        request: {
          method: 'GET',
          body: undefined,
          headers: {
            Accept: 'application/json',
            Authorization: 'Bearer k 1',
            'X-Correlation-Id': 'c-1',
            'X-Request-Deadline': '2030-01-01T00:00:00.000Z',
            'X-Rbee-Version': VERSION,
          },
        },
      },
      {
        path: '/v1/echo',
        request: { method: 'POST', body: '{"text":"ä"}', headers: { 'Content-Type': 'application/json' } },
      },
    ]);
    expect(Object.keys(asked[1]?.request.headers ?? {}).sort()).toEqual(['Accept', 'Content-Type', 'X-Rbee-Version']);
  });

  it('leaves out what is not given, and a deadline that no date can hold', async () => {
    const { asked, target } = memoryTransport(200, '{"text":""}');
    await callJson(target, sampleRoutes.getItem, {
      params: { item_id: 'a' },
      query: { lines: null },
      deadline: Number.POSITIVE_INFINITY,
    });
    expect(asked[0]?.path).toBe('/v1/items/a');
    expect(asked[0]?.request.headers).not.toHaveProperty('X-Request-Deadline');
  });
});

describe('a JSON answer', () => {
  it('is checked and given', async () => {
    const { target } = await startSampleService();
    await expect(callJson(target, sampleRoutes.echo, { body: { text: 'ab', count: 2 } })).resolves.toEqual({
      text: 'abab',
    });
    await expect(callJson(target, sampleRoutes.removeItem, { params: { item_id: 'a' } })).resolves.toBeUndefined();
  });

  it('may be that of a stream that was not asked for', async () => {
    const { target } = await startSampleService({ generate: async () => ({ text: 'whole' }) });
    await expect(callJson(target, sampleRoutes.generate, { body: { stream: false } })).resolves.toEqual({
      text: 'whole',
    });
  });

  it('with an error code is that error', async () => {
    const { target } = await startSampleService({
      getItem: async () => {
        throw new RbeeError('ALL_SLOTS_BUSY', 'busy', {
          details: { slots_total: 4 },
          suggestion: 'wait',
          retryable: false,
        });
      },
    });
    const error = await callJson(target, sampleRoutes.getItem, {
      params: { item_id: 'a' },
      correlationId: 'c-9',
    }).catch((caught) => caught);
    expect(error).toMatchObject({
      code: 'ALL_SLOTS_BUSY',
      message: 'busy',
      details: { slots_total: 4 },
      suggestion: 'wait',
      retryable: false,
      correlationId: 'c-9',
    });
  });

  it.each([
    ['{"text":x}', 8],
    ['{"text":"a"', 11],
    ['', 0],
    ['<html>', 0],
  ])('that is no JSON cannot be understood, with the position: %s', async (text, position) => {
    const { target } = memoryTransport(200, text);
    const error = await callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', details: { service: 'rbee-hive', position } });
    expect(error.message).toContain('rbee-hive');
    expect(error.suggestion).toContain('restart');
  });

  it('that cannot be understood is not quoted', async () => {
    const { target } = memoryTransport(200, '{"api_key":s3cret}');
    const error = await callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    expect(JSON.stringify([error.message, error.details, String(error.cause)])).not.toContain('s3cret');
  });

  it('without a field cannot be understood, with the field', async () => {
    const { target } = memoryTransport(200, '{"other":1}');
    const error = await callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', message: expect.stringContaining('text:') });
  });

  it.each([
    [500, 'oops'],
    [404, '{"error":"no"}'],
    [503, '{"error":{"code":"FUTURE_CODE","message":"m"}}'],
    [302, ''],
    [304, '{"text":"a"}'],
  ])('of status %d without a known code cannot be understood, with the status', async (status, text) => {
    const { target } = memoryTransport(status, text);
    const error = await callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', details: { service: 'rbee-hive', status } });
  });

  it('that breaks off is a lost connection', async () => {
    const target = await startPeer((response) => {
      response.writeHead(200, { 'Content-Length': '100' });
      response.write('{"te', () => response.destroy());
    });
    await expect(callJson(target, sampleRoutes.listItems)).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      retryable: true,
    });
  });

  it('without an end is refused before it fills the memory', async () => {
    const part = Buffer.alloc(1024 * 1024, ' ');
    let parts = 0;
    const body = Readable.from(
      (function* () {
        for (; ; parts++) yield part;
      })(),
    );
    const transport = {
      ...memoryTransport(200, '').target.transport,
      send: async () => ({ status: 200, headers: {}, body }),
    };
    const error = await callJson({ transport, clock: systemClock }, sampleRoutes.listItems).catch((caught) => caught);
    expect(error.code).toBe('INVALID_RESPONSE');
    expect(parts).toBeLessThan(100);
    expect(body.destroyed).toBe(true);
  });
});

describe('a time limit', () => {
  const silentPeer = async (clock: ManualClock) => {
    let closed: () => void = () => undefined;
    const left = new Promise<void>((resolve) => {
      closed = resolve;
    });
    let arrived: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const target = await startPeer((response) => {
      response.once('close', closed);
      arrived();
    }, clock);
    return { target, left, arrival };
  };

  it('of ten seconds ends a call and its connection', async () => {
    const clock = new ManualClock();
    const { target, left, arrival } = await silentPeer(clock);
    const answer = callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    await arrival;
    await clock.advance(9_999);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    expect(await answer).toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      details: { service: 'rbee-hive', timeout_ms: 10_000 },
    });
    await left;
    expect(clock.pending).toBe(0);
  });

  it('may be given, also to a slow route', async () => {
    const clock = new ManualClock();
    const { target, left, arrival } = await silentPeer(clock);
    const answer = callStream(target, sampleRoutes.generate, { body: {}, timeoutMs: 500 }).catch((caught) => caught);
    await arrival;
    await clock.advance(500);
    expect(await answer).toMatchObject({ code: 'CONNECTION_TIMEOUT', details: { timeout_ms: 500 } });
    await left;
  });

  it('does not exist on a slow route by itself', async () => {
    const clock = new ManualClock();
    const { target, arrival } = await silentPeer(clock);
    const abort = new AbortController();
    const answer = callStream(target, sampleRoutes.generate, { body: {}, signal: abort.signal }).catch(
      (caught) => caught,
    );
    await arrival;
    expect(clock.pending).toBe(0);
    abort.abort(new Error('enough'));
    expect(await answer).toMatchObject({ message: 'enough' });
  });

  it('leaves no timer behind an answer', async () => {
    const clock = new ManualClock();
    const { target } = await startSampleService();
    await callJson({ ...target, clock }, sampleRoutes.listItems);
    expect(clock.pending).toBe(0);
  });

  it('covers the whole body', async () => {
    const clock = new ManualClock();
    const target = await startPeer((response) => {
      response.writeHead(200, { 'Content-Length': '100' });
      response.write('{');
    }, clock);
    const answer = callJson(target, sampleRoutes.listItems).catch((caught) => caught);
    const [, response] = (await once(servers.at(-1) as Server, 'request')) as [unknown, ServerResponse];
    const left = once(response, 'close');
    await clock.advance(10_000);
    expect(await answer).toMatchObject({ code: 'CONNECTION_TIMEOUT', details: { timeout_ms: 10_000 } });
    await left;
  });
});

describe('a signal', () => {
  it('that is aborted already sends nothing', async () => {
    const { target, server } = await startSampleService();
    server.once('request', () => {
      throw new Error('a request was sent');
    });
    const signal = AbortSignal.abort(new Error('too late'));
    await expect(callJson(target, sampleRoutes.listItems, { signal })).rejects.toThrow('too late');
  });

  it('ends a call with its reason, also within the body', async () => {
    for (const begin of [() => undefined, (response: ServerResponse) => void response.writeHead(200).write('{')]) {
      const abort = new AbortController();
      const target = await startPeer((response) => {
        begin(response);
        response.once('close', () => undefined);
        setImmediate(() => abort.abort(new RbeeError('CANCELLED', 'enough')));
      });
      await expect(callJson(target, sampleRoutes.listItems, { signal: abort.signal })).rejects.toMatchObject({
        code: 'CANCELLED',
      });
    }
  });

  it('ends a stream that runs with its reason', async () => {
    const abort = new AbortController();
    let gone: (code: string) => void = () => undefined;
    const outcome = new Promise<string>((resolve) => {
      gone = resolve;
    });
    const { target } = await startSampleService({
      generate: async ({ signal }, stream) => {
        stream.send({ type: 'token', t: 'a' });
        await once(signal, 'abort');
        gone(signal.reason.code);
        throw signal.reason;
      },
    });
    const { messages } = await callStream(target, sampleRoutes.generate, { body: {}, signal: abort.signal });
    expect((await messages.next()).value).toMatchObject({ event: 'token' });
    const next = messages.next();
    abort.abort(new RbeeError('CANCELLED', 'enough'));
    await expect(next).rejects.toMatchObject({ code: 'CANCELLED', message: 'enough' });
    expect(await outcome).toBe('CANCELLED');
  });

  it('is let go by every call, however it ends', async () => {
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, 'abort');
    const { target } = await startSampleService({
      generate: async (_call, stream) => void stream.send({ type: 'end' }),
      logs: async (_call, stream) => void stream.write('a'),
    });
    const closeOf = (source: { close(): void }) => source.close();
    await callJson(target, sampleRoutes.listItems, { signal });
    await callJson(target, sampleRoutes.getItem, { params: { item_id: '#' }, signal }).catch(() => undefined);
    await callStream(target, sampleRoutes.progress, { signal }).catch(() => undefined);
    await collect((await callStream(target, sampleRoutes.generate, { body: {}, signal })).messages);
    closeOf(await callStream(target, sampleRoutes.generate, { body: {}, signal }));
    for await (const _part of await callText(target, sampleRoutes.logs, { signal })) break;
    const dead = { ...target, transport: httpTransport({ name: 'nobody', url: 'http://127.0.0.1:1' }) };
    await callJson(dead, sampleRoutes.listItems, { signal }).catch(() => undefined);
    for (let turn = 0; turn < 100 && listeners().length > 0; turn++)
      await new Promise((resolve) => setImmediate(resolve));
    expect(listeners()).toEqual([]);
  });

  it('aborted after the end of a call does nothing', async () => {
    const abort = new AbortController();
    const { target } = await startSampleService({
      generate: async (_call, stream) => void stream.send({ type: 'end' }),
    });
    await callJson(target, sampleRoutes.listItems, { signal: abort.signal });
    const { messages } = await callStream(target, sampleRoutes.generate, { body: {}, signal: abort.signal });
    expect(await collect(messages)).toHaveLength(1);
    abort.abort(new Error('late'));
    await expect(callJson(target, sampleRoutes.listItems)).resolves.toEqual({ text: 'the list' });
  });
});

describe('a stream', () => {
  it('gives its headers, and its messages up to [DONE]', async () => {
    const { target } = await startSampleService({
      generate: async (_call, stream) => {
        stream.open({ 'X-Request-Id': 'job-1' });
        stream.send({ type: 'token', t: 'a' }, '1');
        stream.send({ type: 'end' });
      },
    });
    const { headers, messages } = await callStream(target, sampleRoutes.generate, { body: {} });
    expect(headers['x-request-id']).toBe('job-1');
    expect(await collect(messages)).toEqual([
      { event: 'token', data: '{"type":"token","t":"a"}', id: '1' },
      { event: 'end', data: '{"type":"end"}', id: undefined },
    ]);
  });

  it('that is refused throws the coded error', async () => {
    const { target } = await startSampleService({
      generate: async () => {
        throw new RbeeError('WORKER_DRAINING', 'no more');
      },
    });
    await expect(callStream(target, sampleRoutes.generate, { body: {} })).rejects.toMatchObject({
      code: 'WORKER_DRAINING',
    });
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ['ends without [DONE]', (response) => response.end('event: token\ndata: 1\n\n')],
    ['is cut', (response) => response.write('event: token\ndata: 1\n\n', () => response.destroy())],
    ['is reset', (response) => response.write('event: token\ndata: 1\n\n', () => response.socket?.resetAndDestroy())],
  ])('that %s is a lost connection', async (_name, respond) => {
    const target = await startPeer((response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      respond(response);
    });
    const { messages } = await callStream(target, sampleRoutes.generate, { body: {} });
    const error = await collect(messages).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'WORKER_CONNECTION_LOST', retryable: true, details: { service: 'rbee-hive' } });
  });

  it('is closed at the other side when its reader leaves', async () => {
    let gone: () => void = () => undefined;
    const left = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const { target } = await startSampleService({
      generate: async ({ signal }, stream) => {
        stream.send({ type: 'token', t: 'a' });
        await once(signal, 'abort');
        gone();
        throw signal.reason;
      },
    });
    const { messages } = await callStream(target, sampleRoutes.generate, { body: {} });
    for await (const _message of messages) break;
    await left;
  });
});

describe('a text', () => {
  it('is given in parts', async () => {
    const { target } = await startSampleService({ logs: async (_call, stream) => void stream.write('a\nb\n') });
    const parts: Uint8Array[] = [];
    for await (const part of await callText(target, sampleRoutes.logs)) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe('a\nb\n');
  });

  it('that breaks off is a lost connection', async () => {
    const target = await startPeer((response) => void response.writeHead(200).write('a', () => response.destroy()));
    const text = await callText(target, sampleRoutes.logs);
    const read = async () => {
      for await (const _part of text);
    };
    await expect(read()).rejects.toMatchObject({ code: 'WORKER_CONNECTION_LOST' });
  });

  it('that is refused throws the coded error', async () => {
    const { target } = await startSampleService({
      logs: async () => {
        throw new RbeeError('NODE_NOT_FOUND', 'no');
      },
    });
    await expect(callText(target, sampleRoutes.logs)).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
  });
});

describe('an event that was read', () => {
  it('is checked', () => {
    expect(readEvent(sampleEvent, { event: 'token', data: '{"type":"token","t":"a","new":1}' })).toEqual({
      type: 'token',
      t: 'a',
    });
  });

  it.each(['{', '{"type":"future"}', '5', ''])('is left out when it is not known: %j', (data) => {
    expect(readEvent(sampleEvent, { data })).toBeUndefined();
  });
});
