import { describe, expect, it } from '@jest/globals';
import { Secret, type Transport, type TransportRequest } from '@rbee/daemon-kit';
import { keyedTransport, LearnedKey } from './keyed-transport.js';

const GET: TransportRequest = { method: 'GET', headers: { Accept: 'x' } };

/** A service that wants a key, and notes what it is shown. */
class LockedService implements Transport {
  readonly peer = { name: 'rbee-hive', url: 'http://127.0.0.1:1' };
  readonly shown: (string | undefined)[] = [];
  destroyed = 0;

  constructor(public wants: string | undefined) {}

  async send(_path: string, { headers }: TransportRequest) {
    this.shown.push(headers.Authorization);
    const status = this.wants === undefined || headers.Authorization === `Bearer ${this.wants}` ? 200 : 401;
    const body = {
      destroy: () => ++this.destroyed,
      async *[Symbol.asyncIterator]() {
        yield new Uint8Array();
      },
    };
    return { status, headers: {}, body };
  }

  close(): void {
    this.shown.length = 0;
  }
}

describe('keyedTransport', () => {
  const build = (wants: string | undefined, ...keys: (string | undefined)[]) => {
    const service = new LockedService(wants);
    let reads = 0;
    const read = async () => {
      const key = keys[Math.min(reads++, keys.length - 1)];
      return key === undefined ? undefined : new Secret(key);
    };
    return { service, transport: keyedTransport(service, new LearnedKey(read)), reads: () => reads };
  };

  it('reads the key once for all requests', async () => {
    const { service, transport, reads } = build('a', 'a');
    const answers = await Promise.all([1, 2, 3].map(() => transport.send('/', GET)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(service.shown).toEqual(['Bearer a', 'Bearer a', 'Bearer a']);
    expect(reads()).toBe(1);
  });

  it('shows nothing where there is no key', async () => {
    const { service, transport } = build(undefined, undefined);
    expect((await transport.send('/', GET)).status).toBe(200);
    expect(service.shown).toEqual([undefined]);
  });

  it('reads the key anew when it is rejected, and repeats the request once', async () => {
    const { service, transport, reads } = build('b', 'a', 'b');
    expect((await transport.send('/', GET)).status).toBe(200);
    expect(service.shown).toEqual(['Bearer a', 'Bearer b']);
    expect(service.destroyed).toBe(1);
    expect(reads()).toBe(2);
  });

  it('passes the rejection on when the key is still the same', async () => {
    const { service, transport } = build('b', 'a');
    expect((await transport.send('/', GET)).status).toBe(401);
    expect(service.shown).toEqual(['Bearer a']);
    expect(service.destroyed).toBe(0);
  });

  it('reads it anew only once for requests that were rejected together', async () => {
    const { transport, reads } = build('b', 'a', 'b');
    const answers = await Promise.all([1, 2, 3].map(() => transport.send('/', GET)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(reads()).toBe(2);
  });

  it('tries again after a reading that failed', async () => {
    let reads = 0;
    const key = new LearnedKey(async () => {
      if (reads++ === 0) throw new Error('no connection');
      return new Secret('a');
    });
    const transport = keyedTransport(new LockedService('a'), key);
    await expect(transport.send('/', GET)).rejects.toThrow('no connection');
    expect((await transport.send('/', GET)).status).toBe(200);
  });

  it('does not wait for the key longer than its caller', async () => {
    const transport = keyedTransport(new LockedService('a'), new LearnedKey(() => new Promise(() => undefined)));
    const abort = new AbortController();
    const sending = transport.send('/', { ...GET, signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(sending).rejects.toThrow('enough');
  });
});
