import { describe, expect, it } from '@jest/globals';
import { Secret, silentLogger, type Transport, type TransportRequest } from '@rbee/daemon-kit';
import { keyedTransport, LearnedKey } from './keyed-transport.js';

const HIVE = { node: 'far', advice: 'look at the key file', log: silentLogger };
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
    const told: unknown[] = [];
    const log = { ...silentLogger, info: (fields: object, message: string) => void told.push({ ...fields, message }) };
    const transport = keyedTransport(service, new LearnedKey(read), { ...HIVE, log });
    return { service, transport, reads: () => reads, told };
  };

  it('reads the key once for all requests', async () => {
    const { service, transport, reads } = build('a', 'a');
    const answers = await Promise.all([1, 2, 3].map(() => transport.send('/', GET)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(service.shown).toEqual(['Bearer a', 'Bearer a', 'Bearer a']);
    expect(reads()).toBe(1);
  });

  it('shows nothing on a path that needs no key, whoever answers there', async () => {
    const { service, transport } = build(undefined, 'a');
    for (const path of ['/health', '/v1/health', '/v1/workers/list']) await transport.send(path, GET);
    expect(service.shown).toEqual([undefined, undefined, 'Bearer a']);
  });

  it('says that a key cannot be read also where it needs none', async () => {
    const unreadable = new LearnedKey(() => Promise.reject(new Error('ENOENT')));
    const transport = keyedTransport(new LockedService(undefined), unreadable, HIVE);
    await expect(transport.send('/v1/health', GET)).rejects.toThrow('ENOENT');
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

  it('says which hive rejected the key, and what to check, when the key is still the same', async () => {
    const { service, transport } = build('b', 'a');
    await expect(transport.send('/', GET)).rejects.toMatchObject({
      code: 'INVALID_API_KEY',
      message: 'the rbee-hive of far rejected the key of the queen',
      details: { service: 'rbee-hive', node: 'far', reason: 'invalid_token' },
      suggestion: 'look at the key file',
    });
    expect(service.shown).toEqual(['Bearer a']);
    expect(service.destroyed).toBe(1);
  });

  it('says so as well when the next key is rejected, and when there is none', async () => {
    await expect(build('c', 'a', 'b').transport.send('/', GET)).rejects.toMatchObject({ code: 'INVALID_API_KEY' });
    await expect(build('c', undefined).transport.send('/', GET)).rejects.toMatchObject({
      code: 'MISSING_API_KEY',
      details: { service: 'rbee-hive', node: 'far', reason: 'missing_header' },
    });
  });

  it('logs once which key it calls the hive with, and again when that is another one', async () => {
    const { transport, told } = build('b', 'a', 'b');
    await transport.send('/health', GET);
    expect(told).toEqual([]);
    for (const path of ['/', '/', '/x']) await transport.send(path, GET);
    const line = (key: string) => ({
      node: 'far',
      identity: new Secret(key).fingerprint,
      message: 'calling the hive with this key',
    });
    expect(told).toEqual([line('a'), line('b')]);
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
    const transport = keyedTransport(new LockedService('a'), key, HIVE);
    await expect(transport.send('/', GET)).rejects.toThrow('no connection');
    expect((await transport.send('/', GET)).status).toBe(200);
  });

  it('does not wait for the key longer than its caller', async () => {
    const never = new LearnedKey(() => new Promise(() => undefined));
    const transport = keyedTransport(new LockedService('a'), never, HIVE);
    const abort = new AbortController();
    const sending = transport.send('/', { ...GET, signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(sending).rejects.toThrow('enough');
  });
});
