import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { identify, isRunning, systemClock, waitUntilGone } from '@rbee/daemon-kit';
import { TestHive, type TestHiveOptions } from '../../test/test-hive.js';

let hive: TestHive;
const start = async (options?: TestHiveOptions) => {
  hive = await TestHive.start(options);
};
afterEach(() => hive.stop());

const log = () => readFileSync(join(hive.home, '.rbee/logs/rbee-hive.log'), 'utf8');
const runFiles = () => readdirSync(join(hive.home, '.rbee/run/workers'));
const failureOf = (failing: Promise<unknown>) =>
  failing.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: { details: { worker_id: string; pid: number } }) => error.details,
  );
const pidOf = async (workerId: string) => (await hive.worker(workerId)).pid as number;

describe('the start of a worker', () => {
  it('answers at the first callback and tells how it goes on, from the beginning', async () => {
    await start();
    const answer = await hive.spawn({ slots_total: 3 });
    expect(answer).toMatchObject({
      worker_id: expect.stringMatching(/^worker-[0-9a-f-]{36}$/),
      url: `http://127.0.0.1:${hive.workerPort}`,
      state: expect.stringMatching(/^(loading|idle)$/),
      events_url: `/v1/workers/${answer.worker_id}/events`,
      api_key: expect.stringMatching(/^[0-9a-f]{64}$/),
      device: 0,
    });
    const events = await hive.startEvents(answer.worker_id);
    const told = events.flatMap((event) => (event.type === 'narration' ? [event.action] : []));
    expect(told).toEqual([
      ...['model_found', 'worker_preflight', 'ram_check', 'backend_check', 'worker_dispatch', 'worker_start'],
      ...['startup', 'worker_ready'],
    ]);
    expect(events.filter(({ type }) => type === 'progress').at(-1)).toMatchObject({
      layers_loaded: 4,
      layers_total: 4,
    });
    expect(events.at(-1)).toEqual({ type: 'end', worker_id: answer.worker_id, state: 'idle' });
    expect(events.filter(({ type }) => type === 'end' || type === 'error')).toHaveLength(1);
    const own = events.filter((event) => event.type === 'narration' && event.actor === 'rbee-hive');
    expect(own.every((event) => 'correlation_id' in event && event.correlation_id === 'corr-1')).toBe(true);
    const [worker] = await hive.workers();
    expect(worker).toMatchObject({
      state: 'idle',
      model_ref: 'builtin:honeycomb',
      slots_total: 3,
      slots_available: 3,
      owned: true,
    });
    expect(worker).not.toHaveProperty('api_key');
    await expect(hive.worker(answer.worker_id)).resolves.toMatchObject({ api_key: answer.api_key });
  });

  it('gives the process its key in a file of its own, a record, and one libuv thread', async () => {
    await start();
    const { worker_id, api_key } = await hive.ready();
    const folder = join(hive.home, '.rbee/run/workers');
    expect(statSync(join(folder, `${worker_id}.key`)).mode & 0o777).toBe(0o600);
    const pid = await pidOf(worker_id);
    expect(JSON.parse(readFileSync(join(folder, `${worker_id}.json`), 'utf8'))).toMatchObject({
      workerId: worker_id,
      process: identify(pid),
    });
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    expect(variables).toContain('UV_THREADPOOL_SIZE=1');
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(api_key);
    expect(log()).not.toContain(api_key);
  });

  it('takes the next port when one is in use, and says so', async () => {
    await start();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(hive.workerPort, '127.0.0.1', resolve));
    const answer = await hive.ready();
    squatter.close();
    expect(answer.url).toBe(`http://127.0.0.1:${hive.workerPort + 1}`);
    const told = await hive.startEvents(answer.worker_id);
    expect(told).toContainEqual(expect.objectContaining({ action: 'port_in_use', target: String(hive.workerPort) }));
  });

  it('is found out at once when the process ends, with its last error and no path of the machine', async () => {
    await start({ script: { startError: 'the model is cursed' } });
    const failed = hive.spawn();
    await expect(failed).rejects.toMatchObject({
      code: 'WORKER_STARTUP_FAILED',
      message: expect.stringMatching(/exit code 1 before it was reachable: the model is cursed/),
      details: { exit_code: 1, phase: 'starting' },
    });
    await expect(failed).rejects.toMatchObject({ details: { last_output: [expect.not.stringContaining('/home/')] } });
    expect(await hive.workers()).toEqual([]);
    expect(runFiles()).toEqual([]);
  });

  it('ends by force when nothing is heard of the process', async () => {
    await start({ script: { silent: true, ignoreSigterm: true }, timeouts: { worker_startup: 300 } });
    const { worker_id, pid } = await failureOf(hive.spawn());
    await expect(waitUntilGone({ pid, startTime: undefined }, systemClock, 2000)).resolves.toBe(true);
    await expect(hive.worker(worker_id)).resolves.toMatchObject({
      state: 'failed',
      last_error: { code: 'WORKER_STARTUP_FAILED' },
    });
    expect(log()).toMatch(new RegExp(`"worker_id":"${worker_id}","pid":${pid},"reason":"no callback`));
  });

  it('fails when the model is not loaded in time, naming the layers', async () => {
    await start({ script: { stuckAtLayer: 2 }, timeouts: { model_load: 1000 } });
    const { worker_id } = await hive.spawn();
    const events = await hive.startEvents(worker_id);
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      code: 'LOADING_TIMEOUT',
      status: 408,
      details: { layers_loaded: 2, layers_total: 4, elapsed_ms: 1000 },
    });
    expect(await hive.workers()).toEqual([]);
  });

  it('reports what the worker says about a failed load', async () => {
    await start({ script: { loadError: { code: 'MODEL_LOAD_FAILED', message: 'unknown tensor type' } } });
    const { worker_id } = await hive.spawn();
    const events = await hive.startEvents(worker_id);
    expect(events.at(-1)).toMatchObject({ type: 'error', code: 'MODEL_LOAD_FAILED', message: 'unknown tensor type' });
    await expect(hive.worker(worker_id)).resolves.toMatchObject({ state: 'failed' });
  });

  it('reports a process that ends while it loads', async () => {
    await start({ script: { exitAtLayer: 2 } });
    const { worker_id } = await hive.spawn();
    expect((await hive.startEvents(worker_id)).at(-1)).toMatchObject({
      code: 'WORKER_STARTUP_FAILED',
      details: { exit_code: 3, phase: 'loading' },
    });
  });

  it('forgets a failed worker after a while', async () => {
    await start({ script: { startError: 'no' }, timeouts: { failed_worker_kept: 100 } });
    const { worker_id: id } = await failureOf(hive.spawn());
    await expect(hive.worker(id)).resolves.toMatchObject({ state: 'failed' });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await expect(hive.worker(id)).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
  });

  it('fails at once when the worker program is missing', async () => {
    await start({ workerPath: '/nowhere/worker.js' });
    await expect(hive.spawn()).rejects.toMatchObject({ code: 'WORKER_BINARY_NOT_FOUND' });
    expect(await hive.workers()).toEqual([]);
    expect(runFiles()).toEqual([]);
  });

  it('keeps the registry exact through spawns and stops at the same time', async () => {
    await start();
    const first = await Promise.all([1, 2, 3].map(() => hive.ready()));
    const [kept, ...ended] = first;
    await Promise.all([...ended.map(({ worker_id }) => hive.shutDownWorker(worker_id)), hive.ready(), hive.ready()]);
    const workers = await hive.until((list) => list.length === 3);
    expect(workers.map(({ id }) => id)).toContain(kept?.worker_id);
    expect(new Set(workers.map(({ url }) => url)).size).toBe(3);
    expect(runFiles()).toHaveLength(6);
  });
});

describe('a worker that runs', () => {
  it('is busy only when no slot is free', async () => {
    await start();
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 1 });
    expect(await hive.workers()).toMatchObject([{ state: 'idle', slots_available: 1 }]);
    await hive.tell(worker, { jobs: 2 });
    expect(await hive.workers()).toMatchObject([{ state: 'busy', slots_available: 0 }]);
    await hive.tell(worker, { jobs: 0 });
    expect(await hive.workers()).toMatchObject([{ state: 'idle', slots_available: 2 }]);
  });

  it('is removed at once when it crashes', async () => {
    await start();
    const worker = await hive.ready();
    const pid = await pidOf(worker.worker_id);
    await hive.tell(worker, { exit: 9 });
    await hive.until((workers) => workers.length === 0);
    expect(log()).toMatch(new RegExp(`worker_crash.*process ${pid} ended with exit code 9`));
    const failed = await hive.worker(worker.worker_id);
    expect(failed).toMatchObject({
      state: 'failed',
      last_error: { code: 'WORKER_CRASHED', details: { exit_code: 9, signal: null, pid, jobs: 0 } },
    });
    expect(failed).not.toHaveProperty('pid');
    expect(runFiles()).toEqual([]);
  });

  it('is unhealthy after a failed check and well again after a good one', async () => {
    await start({ timeouts: { health_poll: 300 } });
    const worker = await hive.ready();
    await hive.tell(worker, { health: 'bad' });
    await hive.until(([one]) => one?.state === 'unhealthy' && one.failed_health_checks > 0);
    await hive.tell(worker, { health: 'good' });
    await hive.until(([one]) => one?.state === 'idle' && one.failed_health_checks === 0);
  });

  it('is killed after the third failed check in a row', async () => {
    await start({ timeouts: { health_poll: 200, health_call: 150 } });
    const worker = await hive.ready();
    const process = identify(await pidOf(worker.worker_id));
    expect(process).toBeDefined();
    await hive.tell(worker, { health: 'hang' });
    await hive.until((workers) => workers.length === 0);
    expect(process && isRunning(process)).toBe(false);
    expect(log()).toMatch(/"reason":"3 health checks failed in a row","signal":"SIGKILL"/);
  });

  it('ends after the idle time, counted from the end of its last job', async () => {
    await start({ timeouts: { idle_worker: 1000 } });
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await hive.workers()).toHaveLength(1);
    await hive.tell(worker, { jobs: 0 });
    const endedAt = performance.now();
    await hive.until((workers) => workers.length === 0);
    expect(performance.now() - endedAt).toBeGreaterThan(950);
    expect(log()).toMatch(/idle_timeout/);
    expect(log()).not.toMatch(/SIGKILL/);
  });

  it('ends on request', async () => {
    await start();
    const { worker_id } = await hive.ready();
    await expect(hive.shutDownWorker(worker_id)).resolves.toMatchObject({
      message: expect.stringContaining(worker_id),
    });
    await hive.until((workers) => workers.length === 0);
    expect(log()).not.toMatch(/SIGKILL/);
    await expect(hive.shutDownWorker(worker_id)).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
  });

  it('is terminated, then killed, when it ignores the request', async () => {
    await start({ script: { ignoreShutdown: true, ignoreSigterm: true }, timeouts: { shutdown_ack: 100, kill: 200 } });
    const { worker_id } = await hive.ready();
    await hive.shutDownWorker(worker_id);
    await hive.until((workers) => workers.length === 0);
    expect(readFileSync(join(hive.home, `.rbee/logs/${worker_id}.log`), 'utf8')).toContain('SIGTERM ignored');
    expect(log()).toMatch(
      new RegExp(`"worker_id":"${worker_id}","pid":\\d+,"reason":"no answer, and no end on SIGTERM"`),
    );
  });
});

describe('a worker that the hive did not start', () => {
  const foreign = (more: object = {}) => ({
    worker_id: 'worker-foreign',
    url: 'http://127.0.0.1:1',
    model_ref: 'builtin:honeycomb',
    backend: 'cpu',
    device: 0,
    ...more,
  });
  const callBack = async (body: object) => {
    const init = { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(`${hive.hive.url}/v1/workers/ready`, init);
    await response.text();
    return response.status;
  };

  it('is listed as it reports itself, and never stopped', async () => {
    await start();
    expect(await callBack(foreign())).toBe(200);
    const entry = { state: 'loading', slots_total: 1, slots_available: 0, owned: false };
    expect(await hive.workers()).toMatchObject([{ id: 'worker-foreign', ...entry }]);
    await callBack(foreign({ state: 'idle', slots_total: 4 }));
    expect(await hive.workers()).toMatchObject([{ state: 'idle', slots_available: 4 }]);
    await expect(hive.shutDownWorker('worker-foreign')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect((await hive.startEvents('worker-foreign')).at(-1)).toMatchObject({ type: 'end' });
  });

  it('is forgotten when it does not answer', async () => {
    await start({ timeouts: { health_poll: 30, health_call: 30 } });
    await callBack(foreign({ state: 'idle' }));
    await hive.until((workers) => workers.length === 0);
    expect(log()).not.toMatch(/SIGKILL/);
  });

  it('is not accepted under a name or an address that is none', async () => {
    await start();
    expect(await callBack(foreign({ worker_id: 'a b' }))).toBe(400);
    expect(await callBack(foreign({ url: 'nowhere' }))).toBe(400);
    expect(existsSync(join(hive.home, '.rbee/run/workers/a b.json'))).toBe(false);
    expect(await hive.workers()).toEqual([]);
  });
});
