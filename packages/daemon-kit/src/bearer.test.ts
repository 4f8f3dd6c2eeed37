import { afterEach, describe, expect, it } from '@jest/globals';
import { Secret } from './secret-file.js';
import { memoryLog, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

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
