import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError, type SseMessage, VERSION } from '@rbee/protocol';
import { callJson, callStream, callText, readEvent } from './call.js';
import { systemClock } from './clock.js';
import { Secret } from './secret-file.js';
import { startPeer, stopPeers } from './testing/free-peer.js';
import { sampleEvent, sampleRoutes, startSampleService, stopSampleServices } from './testing/sample-service.js';
import type { Transport, TransportRequest } from './transport.js';

afterEach(async () => {
  await stopSampleServices();
  await stopPeers();
});

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

  it('shows the key to no open route, behind which a stranger may be', async () => {
    const { asked, target } = memoryTransport(200, '{"status":"ok","text":""}');
    const withKey = { ...target, key: new Secret('k 1') };
    await callJson(withKey, sampleRoutes.health);
    await callJson(withKey, sampleRoutes.listItems);
    expect(asked.map(({ request }) => request.headers.Authorization)).toEqual([undefined, 'Bearer k 1']);
  });

  it('carries a key of any characters', async () => {
    const key = new Secret('Schlüssel, 鍵 🗝');
    const { target } = await startSampleService({}, { key, callerKey: key });
    expect(await callJson(target, sampleRoutes.listItems)).toEqual({ text: 'the list' });
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
