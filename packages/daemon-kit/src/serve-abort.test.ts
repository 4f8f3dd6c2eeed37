import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import type { Call } from './serve.js';
import { ManualClock } from './testing/manual-clock.js';
import { defer, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

/** Settles with the reason when a call is aborted. */
const abortOf = (call: Pick<Call, 'signal'>) =>
  new Promise<RbeeError>((resolve) => call.signal.addEventListener('abort', () => resolve(call.signal.reason)));

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
