import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { callJson, callStream, callText, identify, isRunning, systemClock, waitUntilGone } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type HiveEvent, hiveEventSchema, hiveRoutes } from '@rbee/protocol';
import { TEST_KEY, TestHive, type TestHiveOptions } from '../test/test-hive.js';

const running: TestHive[] = [];
const start = async (options?: TestHiveOptions) => {
  const hive = await TestHive.start(options);
  running.push(hive);
  return hive;
};
afterEach(async () => {
  for (const hive of running.splice(0)) await hive.stop();
});

const log = (hive: TestHive) => readFileSync(join(hive.home, '.rbee/logs/rbee-hive.log'), 'utf8');

/** Opens the events of a hive and reads on until one is as wanted. */
async function watch(hive: TestHive, lastEventId?: string) {
  const init = lastEventId === undefined ? {} : { headers: { 'Last-Event-ID': lastEventId } };
  const response = await fetch(`${hive.hive.url}/v1/events`, init);
  const text = (response.body ?? []) as AsyncIterable<Uint8Array>;
  const seen: { id: string | undefined; event: HiveEvent }[] = [];
  const frames = (async function* () {
    let rest = '';
    for await (const chunk of text) {
      rest += Buffer.from(chunk).toString();
      const parts = rest.split('\n\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
  })();
  const until = async (wanted: (event: HiveEvent) => boolean) => {
    for (;;) {
      const { value: frame, done } = await frames.next();
      if (done) throw new Error('the stream ended');
      const data = /^data: (.*)$/m.exec(frame)?.[1] ?? '';
      if (data === '' || data === '[DONE]') continue;
      const event = hiveEventSchema.parse(JSON.parse(data));
      seen.push({ id: /^id: (.*)$/m.exec(frame)?.[1], event });
      if (wanted(event)) return event;
    }
  };
  return { seen, until, close: () => frames.return(undefined) };
}

describe('the routes', () => {
  it('tell about the hive and its machine', async () => {
    const hive = await start();
    const get = async (path: string) => (await fetch(hive.hive.url + path)).json();
    const health = { status: 'alive', version: '0.1.0', api_version: 'v1', pid: process.pid };
    expect(await get('/v1/health')).toEqual(health);
    expect(await get('/health')).toEqual(health);
    expect(await (await fetch(`${hive.hive.url}/v1/workers/list`)).text()).toBe('{"workers":[]}');
    expect(await get('/v1/backends')).toMatchObject({
      backends: expect.arrayContaining([{ name: 'cpu', available: true, devices: 1 }]),
    });
    expect(await get('/v1/resources')).toMatchObject({ ram_available_mb: expect.any(Number) });
    expect(await get('/v1/worker-binaries/list')).toMatchObject({ binaries: [{ worker_type: 'llm-worker-rbee' }] });
    expect(await get('/v1/models/list?provider=builtin')).toMatchObject({
      models: [{ id: 'honeycomb-q4_k_m' }, {}, {}],
    });
    expect(await get('/v1/models/list?provider=hf')).toEqual({ models: [], downloads: [] });
  });

  it('need the key of the hive, except for health and for callbacks, which need the key of the worker', async () => {
    const hive = await start({ key: TEST_KEY });
    const get = async (path: string, authorization?: string) =>
      (await fetch(hive.hive.url + path, authorization ? { headers: { authorization } } : {})).status;
    expect(await get('/v1/health')).toBe(200);
    expect(await get('/v1/workers/list')).toBe(401);
    expect(await get('/v1/workers/list', 'Bearer wrong')).toBe(401);
    expect(await get('/v1/workers/list', `Bearer ${TEST_KEY.reveal()}`)).toBe(200);
    const worker = await hive.ready();
    expect(await hive.workers()).toMatchObject([{ state: 'idle' }]);
    const callBack = (authorization: string) => {
      const body = { ...worker, model_ref: 'builtin:honeycomb', backend: 'cpu', device: 0, state: 'draining' };
      const init = { method: 'POST', headers: { authorization }, body: JSON.stringify(body) };
      return fetch(`${hive.hive.url}/v1/workers/ready`, init).then((response) => response.status);
    };
    expect(await callBack('Bearer wrong')).toBe(401);
    expect(await callBack(`Bearer ${TEST_KEY.reveal()}`)).toBe(401);
    const checks = log(hive)
      .split('\n')
      .filter((line) => line.includes('authenticat'))
      .map((line) => JSON.parse(line) as { correlation_id?: string });
    expect(checks.length).toBeGreaterThan(4);
    for (const check of checks) expect(check.correlation_id).toMatch(/^[\w-]{1,64}$/);
    expect(log(hive)).not.toContain(TEST_KEY.reveal());
  });

  it('give the logs of hive and workers', async () => {
    const hive = await start();
    const { worker_id } = await hive.ready();
    const read = async (query: { lines?: number; worker_id?: string }) => {
      let text = '';
      for await (const chunk of await callText(hive.target, hiveRoutes.logs, { query })) text += Buffer.from(chunk);
      return text;
    };
    expect(await read({ worker_id })).toContain(`worker ${worker_id} starts`);
    const all = await read({ lines: 1000 });
    expect(all).toContain('"action":"startup"');
    expect(all).toContain('"service":"rbee-hive"');
    expect((await read({ lines: 1 })).trim().split('\n')).toHaveLength(1);
  });
});

describe('a request that fails', () => {
  let shared: TestHive;
  beforeAll(async () => {
    shared = await TestHive.start({ timeouts: { download_retry: 5 } });
  });
  afterAll(() => shared.stop());

  it.each([
    ['POST', '/v1/workers/spawn', '{"model":"honeycomb","backend":"cpu"}', 400, 'INVALID_MODEL_REF'],
    ['POST', '/v1/workers/spawn', '{"model":"builtin:honeycomb","backend":"tpu"}', 400, 'INVALID_BACKEND'],
    ['POST', '/v1/workers/spawn', '{"model":"builtin:honeycomb","backend":"cpu","device":-1}', 400, 'INVALID_DEVICE'],
    ['POST', '/v1/workers/spawn', '{"model":"builtin:honeycomb","backend":"cpu","device":3}', 400, 'INVALID_DEVICE'],
    ['POST', '/v1/workers/spawn', '{"model":"builtin:honeycomb","backend":"metal"}', 503, 'BACKEND_UNAVAILABLE'],
    ['POST', '/v1/workers/spawn', '{"model":"hf:org/repo","backend":"metal"}', 503, 'BACKEND_UNAVAILABLE'],
    ['POST', '/v1/workers/spawn', '{"model":"hf:org/repo","backend":"cpu"}', 500, 'DOWNLOAD_FAILED'],
    ['POST', '/v1/workers/spawn', '{"model":"file:///etc/passwd","backend":"cpu"}', 400, 'INVALID_PATH'],
    ['POST', '/v1/workers/spawn', '{', 400, 'INVALID_REQUEST'],
    ['GET', '/v1/workers/worker-none', undefined, 404, 'WORKER_NOT_FOUND'],
    ['GET', '/v1/workers/worker-none/events', undefined, 404, 'WORKER_NOT_FOUND'],
    ['GET', '/v1/workers/a%20b', undefined, 400, 'INVALID_WORKER_ID'],
    ['POST', '/v1/workers/worker-none/shutdown', '', 404, 'WORKER_NOT_FOUND'],
    ['GET', '/v1/logs?worker_id=worker-none', undefined, 404, 'WORKER_NOT_FOUND'],
    ['GET', '/v1/models/list?provider=ftp', undefined, 400, 'INVALID_REQUEST'],
    ['POST', '/v1/models/download', '{}', 400, 'INVALID_REQUEST'],
    ['POST', '/v1/models/download', '{"model_ref":"builtin:other"}', 404, 'MODEL_NOT_FOUND'],
    ['GET', '/v1/models/download/progress?id=none', undefined, 404, 'NOT_FOUND'],
    ['GET', '/v1/models/download/progress', undefined, 400, 'INVALID_REQUEST'],
    ['DELETE', '/v1/models/download/none', undefined, 404, 'NOT_FOUND'],
    ['DELETE', '/v1/models/none', undefined, 404, 'MODEL_NOT_FOUND'],
    ['DELETE', '/v1/models/honeycomb-q4_k_m', undefined, 403, 'FORBIDDEN'],
    ['GET', '/v1/models/none/files/0', undefined, 404, 'MODEL_NOT_FOUND'],
    ['GET', '/v1/models/honeycomb-q4_k_m/files/1', undefined, 400, 'INVALID_REQUEST'],
    ['GET', '/v1/models/variants?model_ref=builtin:honeycomb', undefined, 400, 'INVALID_MODEL_REF'],
    ['PUT', '/v1/models/import/none/files/0?offset=0', 'x', 404, 'NOT_FOUND'],
    ['POST', '/v1/models/create', '{}', 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', '/v1/health', '{}', 405, 'METHOD_NOT_ALLOWED'],
  ])('%s %s %s is answered with %i %s', async (method, path, body, status, code) => {
    const response = await fetch(shared.hive.url + path, { method, ...(body !== undefined && { body }) });
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ error: { code, correlation_id: expect.any(String) } });
    expect(response.status).toBe(status);
    expect(text).not.toMatch(/passwd|\/home|\/tmp/);
  });
});

describe('the events', () => {
  it('start with a snapshot, follow every change, and can be taken up again', async () => {
    const hive = await start();
    const first = await watch(hive);
    expect(await first.until((event) => event.type === 'snapshot')).toMatchObject({
      version: '0.1.0',
      workers: [],
      models: [{ model_ref: 'builtin:honeycomb' }, {}, {}],
      backends: expect.arrayContaining([{ name: 'cpu', available: true, devices: 1 }]),
    });
    const { worker_id } = await hive.spawn();
    await first.until((event) => event.type === 'worker' && event.worker.state === 'idle');
    const changes = first.seen.flatMap(({ event }) => (event.type === 'worker' ? [event.worker.state] : []));
    expect(changes.filter((state, index) => state !== changes[index - 1])).toEqual(['starting', 'loading', 'idle']);
    const lastId = first.seen.at(-1)?.id;
    await first.close();

    await hive.shutDownWorker(worker_id);
    const second = await watch(hive, lastId);
    await second.until((event) => event.type === 'worker' && event.change === 'removed');
    expect(second.seen.some(({ event }) => event.type === 'snapshot')).toBe(false);
    expect(second.seen.some(({ event }) => event.type === 'narration' && event.action === 'shutdown')).toBe(true);
    await second.close();
  });

  it('end with the hive', async () => {
    const hive = await start();
    const events = await watch(hive);
    await events.until((event) => event.type === 'snapshot');
    await hive.hive.stop('because');
    await expect(events.until((event) => event.type === 'end')).resolves.toEqual({ type: 'end', reason: 'because' });
  });
});

describe('a quiet stream of events', () => {
  it('shows that it lives every 1.5 s, and tells when free memory has changed noticeably', async () => {
    const home = mkdtempSync(join(tmpdir(), 'rbee-quiet-'));
    const probeFile = join(home, 'probe.json');
    const setFree = (mb: number) =>
      writeFileSync(probeFile, JSON.stringify({ ram_total_mb: 16_000, ram_available_mb: mb }));
    setFree(8000);
    const clock = new ManualClock();
    const hive = await start({ clock, home, config: { probeFile } });
    const response = await fetch(`${hive.hive.url}/v1/events`);
    const chunks = (response.body ?? []) as AsyncIterable<Uint8Array>;
    let text = '';
    const reading = (async () => {
      for await (const chunk of chunks) text += Buffer.from(chunk);
    })();
    const read = async (wanted: RegExp) => {
      while (!wanted.test(text)) await new Promise((resolve) => setImmediate(resolve));
    };
    await read(/"type":"snapshot".*\n\n/);
    const snapshot = text;
    await clock.advance(1499);
    expect(text).toBe(snapshot);
    await clock.advance(1);
    await read(/^:/m);

    setFree(7950);
    await clock.advance(5000);
    setFree(7900);
    await clock.advance(5000);
    await read(/event: resources/);
    const told = [...text.matchAll(/^data: (\{"type":"resources".*)$/gm)].map(([, data]) => JSON.parse(data ?? ''));
    expect(told).toMatchObject([{ resources: { ram_available_mb: 7900 } }]);
    await hive.hive.stop('done');
    await reading;
  });
});

describe('a hive on the network', () => {
  const reach = async (url: string) => (await fetch(url)).status;

  it('has its workers on the same address, which their URL names', async () => {
    const { address } = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4') ?? { address: '127.0.0.1' };
    const hive = await start({ key: TEST_KEY, config: { host: address, workerHost: address } });
    const { url } = await hive.ready();
    expect(url).toBe(`http://${address}:${hive.workerPort}`);
    expect(await hive.workers()).toMatchObject([{ state: 'idle', url }]);
    expect(await reach(`${url}/v1/health`)).toBeLessThan(500);
  });

  it('has workers that are reached at any of its addresses, where it listens on all of them', async () => {
    const hive = await start({ key: TEST_KEY, config: { host: '0.0.0.0', workerHost: '0.0.0.0' } });
    const { url } = await hive.ready();
    expect(url).toBe(`http://127.0.0.1:${hive.workerPort}`);
    expect(await hive.workers()).toMatchObject([{ state: 'idle', url }]);
    // Every address of this network is one of the loopback interface on Linux; elsewhere only the first one.
    const other = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1';
    expect(await reach(`http://${other}:${hive.workerPort}/v1/health`)).toBeLessThan(500);
  });
});

describe('the end of a hive', () => {
  it('ends all its workers, keeps the catalog and takes its pid file away', async () => {
    const hive = await start();
    const pidFile = join(hive.home, '.rbee/run/rbee-hive.pid');
    expect(readFileSync(pidFile, 'utf8')).toBe(`${process.pid}\n`);
    await Promise.all([hive.ready(), hive.ready(), hive.ready()]);
    const processes = (await hive.workers()).map(({ pid }) => identify(pid as number));
    await hive.hive.stop('test');
    expect(await hive.hive.ended).toBe(0);
    expect(processes.map((process) => process && isRunning(process))).toEqual([false, false, false]);
    expect(log(hive)).toMatch(/worker 3\/3 has stopped/);
    expect(log(hive)).not.toMatch(/SIGKILL/);
    expect(existsSync(pidFile)).toBe(false);
    expect(existsSync(join(hive.home, '.rbee/models.db'))).toBe(true);
  });

  it('does not wait longer than the whole takes, in parallel, for workers that ignore everything', async () => {
    const hive = await start({
      script: { ignoreShutdown: true, ignoreSigterm: true },
      timeouts: { shutdown_ack: 200, kill: 60_000, hive_shutdown: 600 },
    });
    await Promise.all([hive.ready(), hive.ready()]);
    const before = performance.now();
    await hive.hive.stop('test');
    expect(performance.now() - before).toBeLessThan(2500);
    expect(log(hive).match(/"reason":"the time for the shutdown is up","signal":"SIGKILL"/g)).toHaveLength(2);
  });

  it('gives up a start that is under way', async () => {
    const hive = await start({ script: { silent: true } });
    const spawning = hive.spawn();
    const refused = expect(spawning).rejects.toMatchObject({ code: 'WORKER_STARTUP_FAILED' });
    await hive.until((workers) => workers.some(({ pid }) => pid !== undefined));
    await hive.hive.stop('test');
    await refused;
  });

  it('leaves workers that it does not own alone', async () => {
    const hive = await start();
    const body = {
      worker_id: 'worker-f',
      url: 'http://127.0.0.1:1',
      model_ref: 'builtin:honeycomb',
      backend: 'cpu' as const,
    };
    await callJson(hive.target, hiveRoutes.workerReady, {
      body: { ...body, device: 0, pid: process.pid, state: 'idle' },
    });
    await hive.hive.stop('test');
    expect(await hive.hive.ended).toBe(0);
  });
});

it('goes on when its folders are removed, and takes a worker that could not be started out of its list', async () => {
  const hive = await start();
  const state = join(hive.home, '.rbee');
  rmSync(state, { recursive: true });
  // Nothing can be made where a file stands in the way of the folder.
  writeFileSync(state, '');
  await expect(hive.ready()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  expect(await hive.workers()).toEqual([]);
  rmSync(state);
  await hive.ready();
  expect(await hive.workers()).toMatchObject([{ state: 'idle' }]);
  let text = '';
  for await (const chunk of await callText(hive.target, hiveRoutes.logs, { query: {} })) text += Buffer.from(chunk);
  expect(text).toContain('worker ready');
});

it('ends the workers that a killed hive left behind and that it cannot take over, before it starts one itself', async () => {
  const killed = await start();
  const { worker_id } = await killed.ready();
  const worker = identify((await killed.worker(worker_id)).pid as number);
  const recordFile = join(killed.home, `.rbee/run/workers/${worker_id}.json`);
  // What a record looks like once its hive is gone; the first hive of this test can't be killed without the test.
  const { takeover: _takeover, ...record } = JSON.parse(readFileSync(recordFile, 'utf8'));
  writeFileSync(recordFile, JSON.stringify({ ...record, hive: { pid: 999_999, startTime: '1' } }));
  const next = await TestHive.start({ home: killed.home });
  await next.ready();
  expect(worker && isRunning(worker)).toBe(false);
  expect(log(next)).toMatch(/ended a leftover worker/);
  await next.stop(true);
});

describe('a hive that a queen owns', () => {
  const gone = (hive: TestHive) => hive.hive.ended.then(() => performance.now());

  it('ends when it hears nothing of her', async () => {
    const hive = await start({ config: { owned: true }, timeouts: { owner_lost: 200 } });
    const before = performance.now();
    expect((await gone(hive)) - before).toBeLessThan(2000);
    expect(log(hive)).toMatch(/no contact with the queen/);
  });

  it('stays while she listens', async () => {
    const hive = await start({ config: { owned: true }, timeouts: { owner_lost: 600 } });
    const abort = new AbortController();
    await callStream(hive.target, hiveRoutes.events, { signal: abort.signal });
    const ended = gone(hive);
    await new Promise((resolve) => setTimeout(resolve, 900));
    expect(log(hive)).not.toMatch(/no contact/);
    const before = performance.now();
    abort.abort(new Error('done'));
    expect((await ended) - before).toBeGreaterThan(500);
  });

  it('is not kept by the heartbeats of its workers', async () => {
    const hive = await start({ config: { owned: true }, timeouts: { owner_lost: 600 } });
    const answer = await hive.ready();
    const worker = identify((await hive.worker(answer.worker_id)).pid as number);
    let ended = false;
    const end = gone(hive).then(() => {
      ended = true;
    });
    // Once the worker has got its shutdown request, it takes no more orders.
    for (let jobs = 1; !ended; jobs = 1 - jobs) await hive.tell(answer, { jobs }).catch(() => end);
    await expect(waitUntilGone(worker ?? { pid: 0, startTime: '' }, systemClock, 2000)).resolves.toBe(true);
  });
});

describe('a hive that cannot start', () => {
  it('says which port is taken, and gives everything back', async () => {
    const hive = await start();
    const failed = TestHive.start({ home: join(hive.home, 'other'), config: { port: hive.hive.port } });
    await expect(failed).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { port: hive.hive.port },
      suggestion: expect.stringContaining('--port'),
    });
  });

  it('says that the probe file is wrong', async () => {
    const hive = await start();
    const file = join(hive.home, 'probe.json');
    writeFileSync(file, '{"ram": 1}');
    const failed = TestHive.start({ home: join(hive.home, 'other'), config: { probeFile: file } });
    await expect(failed).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('a machine from the probe file', () => {
  const figures = (more: object) =>
    JSON.stringify({
      backends: [{ name: 'cpu', devices: 1 }],
      ram_total_mb: 16_000,
      ram_available_mb: 8000,
      gpus: [],
      ...more,
    });

  it('decides whether a worker fits, with figures that may change while the hive runs', async () => {
    const home = await start();
    const folder = join(home.home, 'with-probe');
    mkdirSync(folder);
    const probeFile = join(folder, 'probe.json');
    writeFileSync(probeFile, figures({}));
    const hive = await start({ config: { probeFile } });
    expect(log(hive)).toMatch(/"level":"warn".*simulated/);
    await hive.ready();
    writeFileSync(probeFile, figures({ ram_available_mb: 3 }));
    await expect(hive.spawn()).rejects.toMatchObject({
      code: 'INSUFFICIENT_RAM',
      details: { required: expect.any(Number), available: 3 },
    });
    const gpu = { backend: 'cuda', index: 0, name: 'GPU', vram_total_mb: 8000, vram_free_mb: 2 };
    writeFileSync(probeFile, figures({ backends: [{ name: 'cuda', devices: 1 }], gpus: [gpu] }));
    await expect(hive.spawn({ backend: 'cuda' })).rejects.toMatchObject({
      code: 'VRAM_EXHAUSTED',
      details: { device: 'cuda:0', required: expect.any(Number), available: 2 },
    });
  });
});
