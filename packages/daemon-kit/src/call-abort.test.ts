import { getEventListeners, once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError, type SseMessage } from '@rbee/protocol';
import { callJson, callStream, callText } from './call.js';
import { startPeer, stopPeers } from './testing/free-peer.js';
import { ManualClock } from './testing/manual-clock.js';
import { sampleRoutes, startSampleService, stopSampleServices } from './testing/sample-service.js';
import { httpTransport } from './transport.js';

afterEach(async () => {
  await stopSampleServices();
  await stopPeers();
});

async function collect(messages: AsyncIterable<SseMessage>): Promise<SseMessage[]> {
  const all: SseMessage[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

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
    const [, response] = (await once(target.server, 'request')) as [unknown, ServerResponse];
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

describe('silence on an open stream', () => {
  const EVENT = 'event: token\ndata: {"type":"token","t":"a"}\n\n';
  /** A stream that says something each time it is told to. */
  const talkingPeer = async (clock: ManualClock) => {
    let response: ServerResponse | undefined;
    const target = await startPeer((outgoing) => {
      response = outgoing;
      outgoing.writeHead(200, { 'Content-Type': 'text/event-stream' });
      outgoing.write(EVENT);
    }, clock);
    const open = () => callStream(target, sampleRoutes.generate, { body: {}, silenceMs: 1_000 });
    const say = (text: string) => new Promise<void>((resolve) => response?.write(text, () => resolve()));
    return { open, say };
  };

  it('beyond the limit ends it, and comments count as signs of life', async () => {
    const clock = new ManualClock();
    const { open, say } = await talkingPeer(clock);
    const { messages } = await open();
    expect((await messages.next()).value).toMatchObject({ event: 'token' });
    const next = messages.next();
    next.catch(() => undefined);
    await clock.advance(999);
    await say(': alive\n\n');
    await say(EVENT);
    expect((await next).value).toMatchObject({ event: 'token' });
    const last = messages.next().catch((error: unknown) => error);
    await clock.advance(999);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    expect(await last).toMatchObject({ code: 'WORKER_CONNECTION_LOST', details: { silence_ms: 1_000 } });
    expect(clock.pending).toBe(0);
  });

  it('is not watched any more when the reader has closed the stream', async () => {
    const clock = new ManualClock();
    const { open } = await talkingPeer(clock);
    const stream = await open();
    await stream.messages.next();
    expect(clock.pending).toBe(1);
    stream.close();
    while (clock.pending > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});
