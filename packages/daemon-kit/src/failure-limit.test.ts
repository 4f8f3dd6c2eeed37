import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { FailureLimit } from './failure-limit.js';
import { Secret } from './secret-file.js';
import { ManualClock } from './testing/manual-clock.js';
import { sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

describe('the bad requests of a client', () => {
  it('are limited within a second that slides', () => {
    const limit = new FailureLimit(3);
    expect([0, 300, 600, 999].map((ms) => limit.note('a', ms))).toEqual(['counted', 'counted', 'counted', 'over']);
    // The three latest are still within the second.
    expect(limit.note('a', 1200)).toBe('over');
    expect(limit.note('a', 2300)).toBe('counted');
  });

  it('are nobody else`s', () => {
    const limit = new FailureLimit(1);
    expect(['a', 'a', 'b'].map((client) => limit.note(client, 0))).toEqual(['counted', 'over', 'counted']);
  });

  it('are forgotten after a second, and when there are too many clients', () => {
    const limit = new FailureLimit(1);
    for (let client = 0; client < 10_005; client++) limit.note(String(client), 0);
    expect(limit.size).toBe(10_000);
    expect(limit.note('0', 10)).toBe('counted');
    expect(limit.note('9999', 10)).toBe('over');
    limit.note('new', 2000);
    expect(limit.size).toBe(1);
  });
});

describe('a service', () => {
  const bad = (url: string) => sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{"text":1}' });
  const good = (url: string) => sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{"text":"a"}' });

  it('answers 50 bad requests a second by what is wrong, and further ones with 429, while good ones pass', async () => {
    const clock = new ManualClock();
    const { url } = await startSampleService({}, { clock });
    const statuses: number[] = [];
    for (let sent = 0; sent < 60; sent++) statuses.push((await bad(url)).status);
    expect(statuses).toEqual([...Array(50).fill(400), ...Array(10).fill(429)]);
    expect((await good(url)).status).toBe(202);
    const over = await bad(url);
    expect(over).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
    expect(over.json().error).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      retryable: true,
      details: { limit: 50, window_ms: 1000 },
    });
    await clock.advance(1000);
    expect((await bad(url)).status).toBe(400);
  });

  it('does not count a missing key or a missing thing', async () => {
    const missing = async () => {
      throw new RbeeError('NOT_FOUND', 'there is none');
    };
    const { url } = await startSampleService({ getItem: missing }, { failuresPerSecond: 1 });
    const closed = await startSampleService({}, { failuresPerSecond: 1, key: new Secret('k') });
    for (let sent = 0; sent < 5; sent++) {
      expect((await sendRaw(`${url}/v1/items/a`)).status).toBe(404);
      expect((await sendRaw(`${closed.url}/v1/items/a`)).status).toBe(401);
    }
  });

  it('counts what is too large or not allowed by a handler', async () => {
    const refuse = async () => {
      throw new RbeeError('UNSUPPORTED_FIELD', 'not here');
    };
    const { url } = await startSampleService({ getItem: refuse }, { failuresPerSecond: 1, bodyLimit: 10 });
    expect((await bad(url)).status).toBe(400);
    expect((await sendRaw(`${url}/v1/items/a`)).status).toBe(429);
    expect((await sendRaw(`${url}/v1/echo`, { method: 'POST', body: '{"text":"0123456789"}' })).status).toBe(429);
  });
});
