import { afterEach, describe, expect, it } from '@jest/globals';
import { defineRoutes } from '@rbee/protocol';
import { z } from 'zod';
import { systemClock } from './clock.js';
import { type Listening, listen } from './listen.js';
import { Secret } from './secret-file.js';
import { type Call, type ServeOptions, serve } from './serve.js';
import { silentLogger } from './silent-logger.js';
import { sampleRoutes, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';
import { scanRoutes } from './testing/scan-routes.js';

const KEY = new Secret('the key of the service');
const WORKER = new Secret('the key of a worker');
const bearer = (key: Secret) => ({ Authorization: `Bearer ${key.reveal()}` });

const routes = defineRoutes({
  health: { method: 'GET', path: '/health', open: true, answer: { kind: 'json', schema: z.object({}) } },
  ready: {
    method: 'POST',
    path: '/v1/workers/ready',
    callers: 'workers',
    body: z.object({}),
    answer: { kind: 'json', schema: z.object({}) },
  },
  getWorker: { method: 'GET', path: '/v1/workers/{worker_id}', answer: { kind: 'json', schema: z.object({}) } },
  removeWorker: { method: 'DELETE', path: '/v1/workers/{worker_id}', answer: { kind: 'empty' } },
});

const started: Listening[] = [];
afterEach(async () => {
  for (const { close } of started.splice(0)) await close(0);
  await stopSampleServices();
});

/** A service whose workers call back; keeps who called. */
async function start(options: Partial<ServeOptions> = {}) {
  const callers: (string | undefined)[] = [];
  const note = async ({ caller }: Pick<Call, 'caller'>) => {
    callers.push(caller);
    return {};
  };
  const handlers = { health: note, ready: note, getWorker: note, removeWorker: async () => undefined };
  const defaults = { clock: systemClock, log: silentLogger, service: 'rbee-hive', key: KEY };
  const base: ServeOptions = { ...defaults, workerKeys: () => [WORKER] };
  // A getter stays one.
  const app = serve(routes, handlers, Object.defineProperties(base, Object.getOwnPropertyDescriptors(options)));
  const listening = await listen('rbee-hive', app, { host: '127.0.0.1', port: 0 });
  started.push(listening);
  const ask = async (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
    sendRaw(`${listening.url}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  return { ask, callers };
}

it('a whole service is closed but for health', async () => {
  const calls: string[] = [];
  const { url } = await startSampleService({}, { key: KEY, onCall: (name) => calls.push(name) });
  const { findings, requests } = await scanRoutes({ url, routes: sampleRoutes, key: KEY, foreignKey: WORKER });
  expect(findings).toEqual([]);
  expect(requests).toBeGreaterThan(1000);
  expect(new Set(calls)).toEqual(new Set(['health']));
});

it('the scan finds what a service without a key leaves open', async () => {
  const { url } = await startSampleService();
  const { findings } = await scanRoutes({ url, routes: sampleRoutes, key: KEY, foreignKey: WORKER });
  expect(findings).toContain('DELETE /v1/items/w-1 [no key] : status 204 in place of 401');
  expect(findings).toContain('POST /v1/echo [no key] with a body held back: status 413 in place of 401');
});

describe('a path', () => {
  it.each(['/nowhere', '/v1/workers/%zz', '/v1/workers/a/b/c'])(
    'without a route is refused like any other without a key, and not found with it: %s',
    async (path) => {
      const { ask } = await start();
      const refused = await ask('GET', path);
      expect(refused.status).toBe(401);
      expect(refused.json().error).toMatchObject({ code: 'MISSING_API_KEY', details: { service: 'rbee-hive' } });
      const answer = await ask('GET', path, bearer(KEY));
      expect([400, 404]).toContain(answer.status);
      expect(answer.json().error.code).toMatch(/^(INVALID_REQUEST|NOT_FOUND)$/);
    },
  );

  it('of health tells its methods to everybody', async () => {
    const { ask } = await start();
    expect((await ask('GET', '/health')).status).toBe(200);
    expect(await ask('POST', '/health', {}, '{')).toMatchObject({ status: 405, headers: { allow: 'GET' } });
  });
});

describe("a worker's key", () => {
  it('counts where workers report, and nowhere else', async () => {
    const { ask, callers } = await start();
    expect((await ask('POST', '/v1/workers/ready', bearer(WORKER), '{}')).status).toBe(200);
    expect((await ask('POST', '/v1/workers/ready', bearer(KEY), '{}')).status).toBe(200);
    expect((await ask('GET', '/v1/workers/w', bearer(KEY))).status).toBe(200);
    expect(callers).toEqual([WORKER, KEY, KEY].map(({ fingerprint }) => fingerprint.replace('token:', '')));
    // Other methods of the same path belong to other routes.
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await ask(method, '/v1/workers/ready', bearer(WORKER));
      expect([method, answer.status, answer.json().error.code]).toEqual([method, 401, 'INVALID_API_KEY']);
    }
    expect((await ask('GET', '/v1/workers/w', bearer(WORKER))).status).toBe(401);
    expect((await ask('PUT', '/v1/workers/ready', bearer(KEY))).status).toBe(405);
  });

  it('is one that the service knows now', async () => {
    const known = new Set([WORKER]);
    const { ask } = await start({ workerKeys: () => known });
    const call = () => ask('POST', '/v1/workers/ready', bearer(WORKER), '{}').then(({ status }) => status);
    expect(await call()).toBe(200);
    known.clear();
    expect(await call()).toBe(401);
  });
});

describe('the key', () => {
  it('is read for each request', async () => {
    let key: Secret | undefined = KEY;
    const { ask } = await start({
      get key() {
        return key;
      },
    });
    const status = async (...shown: Secret[]) => {
      const answers = await Promise.all(shown.map((each) => ask('GET', '/v1/workers/w', bearer(each))));
      return answers.map((answer) => answer.status);
    };
    const next = new Secret('the next key');
    expect(await status(KEY, next)).toEqual([200, 401]);
    key = next;
    expect(await status(KEY, next)).toEqual([401, 200]);
  });

  it('may hold letters beyond ASCII, as Node.js and as curl send them', async () => {
    const key = new Secret('schlüssel·ñ');
    const { ask } = await start({ key });
    const asNode = await ask('GET', '/v1/workers/w', bearer(key));
    const utf8 = Buffer.from(`Bearer ${key.reveal()}`, 'utf8').toString('latin1');
    const asCurl = await ask('GET', '/v1/workers/w', { Authorization: utf8 });
    expect([asNode.status, asCurl.status]).toEqual([200, 200]);
  });

  it('is missing or wrong: the service that refused is named', async () => {
    const { ask } = await start();
    const missing = (await ask('GET', '/v1/workers/w')).json().error;
    const wrong = (await ask('GET', '/v1/workers/w', { Authorization: 'Bearer no' })).json().error;
    expect(missing.message).toMatch(/^rbee-hive needs a key: /);
    expect(wrong).toMatchObject({ message: 'rbee-hive rejected the key', details: { service: 'rbee-hive' } });
  });

  it('is not needed where there is none, and nobody is known then', async () => {
    const { ask, callers } = await start({ key: undefined });
    expect((await ask('GET', '/v1/workers/w', bearer(WORKER))).status).toBe(200);
    expect(callers).toEqual([undefined]);
  });
});
