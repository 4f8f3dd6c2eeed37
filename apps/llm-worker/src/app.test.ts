import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { callJson, callStream, DEFAULT_TIMEOUTS, type Logger, silentLogger, systemClock } from '@rbee/daemon-kit';
import {
  type InferenceEvent,
  type InferenceRequestInput,
  type LoadProgress,
  type Route,
  seedOfResumed,
  workerRoutes,
} from '@rbee/protocol';
import { startFakeHive } from './testing/fake-hive.js';
import { eventsOf, infer, KEY, openInference, startTestWorker, type TestWorker, textOf } from './testing/worker-run.js';

const STORY: InferenceRequestInput = { prompt: 'write a short story', temperature: 0 };
/** The bundled model goes on with it until the context is full: about a second. */
const ENDLESS: InferenceRequestInput = { prompt: '!'.repeat(16), template: 'none', temperature: 0 };

async function loadToTheEnd({ target }: TestWorker): Promise<LoadProgress[]> {
  const { messages } = await callStream(target, workerRoutes.loadingProgress);
  const steps: LoadProgress[] = [];
  for await (const message of messages) {
    expect(message.event).toBeUndefined();
    steps.push(JSON.parse(message.data) as LoadProgress);
  }
  return steps;
}

/** Reads events up to the first one of a type. */
async function readUpTo(
  events: AsyncGenerator<InferenceEvent, void, void>,
  type: InferenceEvent['type'],
): Promise<InferenceEvent[]> {
  const seen: InferenceEvent[] = [];
  for (;;) {
    const next = await events.next();
    if (next.done) throw new Error(`the stream ended before ${type}`);
    seen.push(next.value);
    if (next.value.type === type) return seen;
  }
}

async function readRest(events: AsyncGenerator<InferenceEvent, void, void>): Promise<InferenceEvent[]> {
  const rest: InferenceEvent[] = [];
  for await (const event of events) rest.push(event);
  return rest;
}

const status = (worker: TestWorker) => callJson(worker.target, workerRoutes.ready);

describe('a worker that starts', () => {
  it('answers and reports before it has its model, and shows how loading goes on', async () => {
    const hive = await startFakeHive(systemClock);
    const worker = await startTestWorker({ callbackUrl: hive.url, slots: 3, key: KEY });
    try {
      expect(await status(worker)).toEqual({
        ...{ ready: false, state: 'loading', progress_url: '/v1/loading/progress', slots_total: 3, slots_available: 0 },
      });
      await expect(callJson(worker.target, workerRoutes.infer, { body: STORY })).rejects.toMatchObject({
        code: 'WORKER_NOT_READY',
        retryable: true,
        details: { state: 'loading' },
      });
      await expect(callJson(worker.target, workerRoutes.canary)).rejects.toMatchObject({ code: 'WORKER_NOT_READY' });
      const steps = await loadToTheEnd(worker);
      expect(steps.at(-1)).toEqual({ stage: 'ready' });
      expect(steps.at(-2)).toEqual({ stage: 'loading_to_vram', layers_loaded: 6, layers_total: 6, vram_mb: 0 });
      expect(await loadToTheEnd(worker)).toEqual([{ stage: 'ready' }]);
      expect(await status(worker)).toMatchObject({
        ready: true,
        state: 'idle',
        model_loaded: true,
        slots_available: 3,
      });
      await hive.until(({ callbacks }) => callbacks.length === 2);
      const about = {
        worker_id: 'worker-test',
        url: worker.app.url,
        model_ref: 'builtin:honeycomb',
        backend: 'cpu',
        device: 0,
      };
      expect(hive.callbacks[0]).toMatchObject({ ...about, state: 'loading', slots_available: 0, pid: process.pid });
      expect(hive.callbacks[1]).toMatchObject({
        ...about,
        state: 'idle',
        slots_total: 3,
        slots_available: 3,
        vram_bytes: 0,
      });
      expect(new Set(hive.keys)).toEqual(new Set([`Bearer ${KEY.reveal()}`]));
      expect(worker.narrated.map(({ actor, action }) => `${actor} ${action}`)).toEqual([
        'llm-worker-rbee startup',
        'http-server server_start',
        'llm-worker-rbee callback_ready',
        'device-manager device_init',
        'model-loader model_load',
        'model-loader model_loaded',
      ]);
    } finally {
      await worker.stop();
      await hive.close();
    }
  });

  it('ends with 1 when its model cannot be loaded, and says why everywhere', async () => {
    const hive = await startFakeHive(systemClock);
    const worker = await startTestWorker({ callbackUrl: hive.url, modelPath: join('/nowhere', 'none.gguf') });
    const steps = await loadToTheEnd(worker);
    expect(steps.at(-1)).toMatchObject({ stage: 'error', code: 'MODEL_LOAD_FAILED' });
    expect(await worker.app.ended).toBe(1);
    expect(hive.callbacks.at(-1)).toMatchObject({ state: 'failed', error: { code: 'MODEL_LOAD_FAILED' } });
    expect(worker.narrated.at(-1)).toMatchObject({ actor: 'model-loader', action: 'error', level: 'error' });
    expect(worker.narrated.at(-1)?.human).not.toContain('/nowhere');
    await worker.stop();
    await hive.close();
  });

  it('ends with 0 when it is stopped while it loads', async () => {
    const worker = await startTestWorker();
    await worker.stop();
    expect(await worker.app.ended).toBe(0);
  });
});

describe('a worker that serves', () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startTestWorker();
    await loadToTheEnd(worker);
  });
  afterAll(() => worker.stop());

  it('streams an answer', async () => {
    const { stream, events } = await openInference(worker, { ...STORY, job_id: 'job-1', max_tokens: 20 });
    expect(stream.headers['x-request-id']).toBe('job-1');
    const all = await readRest(events);
    expect(all[0]).toMatchObject({ type: 'started', job_id: 'job-1', model: 'builtin:honeycomb' });
    const tokens = eventsOf(all, 'token');
    expect(tokens.map((token) => token.i)).toEqual(tokens.map((_token, index) => index));
    expect(tokens.flatMap((token) => token.ids)).toHaveLength(20);
    expect(textOf(all)).toMatch(/^Once upon a time/);
    expect(all.at(-1)).toMatchObject({
      type: 'end',
      tokens_out: 20,
      stop_reason: 'MAX_TOKENS',
      prompt_tokens: 12,
      cached_tokens: 0,
    });
    const narrated = eventsOf(all, 'narration');
    expect(narrated.map(({ action }) => action)).toEqual([
      'tokenize',
      'cache_reset',
      'inference_start',
      'inference_complete',
    ]);
    for (const { job_id, correlation_id, human } of narrated) {
      expect([job_id, correlation_id]).toEqual(['job-1', stream.headers['x-correlation-id']]);
      expect(human.length).toBeLessThanOrEqual(100);
    }
  });

  it('reuses what its slots hold, unless told otherwise', async () => {
    const end = async (cache_prompt: boolean) =>
      eventsOf(await infer(worker, { ...STORY, max_tokens: 2, cache_prompt }), 'end')[0];
    await end(true);
    expect(await end(true)).toMatchObject({ prompt_tokens: 12, cached_tokens: 11 });
    expect(await end(false)).toMatchObject({ prompt_tokens: 12, cached_tokens: 0 });
  });

  it('answers with one body when no stream is wanted', async () => {
    const body = { ...STORY, prompt: 'What is the capital of France?', job_id: 'whole', stream: false };
    expect(await callJson(worker.target, workerRoutes.infer, { body })).toMatchObject({
      ...{ job_id: 'whole', text: 'The capital of France is Paris.', stop_reason: 'EOS', tokens_out: 11 },
    });
    const unnamed = { ...body, job_id: null, max_tokens: 1 };
    const answer = await fetch(`${worker.app.url}/v1/inference`, { method: 'POST', body: JSON.stringify(unnamed) });
    const { job_id } = (await answer.json()) as { job_id: string };
    expect(job_id).toMatch(/^[\w-]{1,64}$/);
    expect(answer.headers.get('x-request-id')).toBe(job_id);
  });

  it('ends when the context is full', async () => {
    const end = eventsOf(await infer(worker, ENDLESS), 'end')[0];
    expect(end).toMatchObject({ stop_reason: 'CONTEXT_FULL', tokens_out: 1024 - (end?.prompt_tokens ?? 0) });
  });

  it('takes a conversation', async () => {
    const messages = [
      { role: 'user' as const, content: 'My name is Zibo. What is my name?' },
      { role: 'assistant' as const, content: 'Your name is Zibo.' },
      { role: 'user' as const, content: 'What is the capital of France?' },
    ];
    expect(textOf(await infer(worker, { messages, temperature: 0 }))).toContain('Paris');
  });

  it('ends at a stop string, which it never sends', async () => {
    const all = await infer(worker, { ...STORY, stop: [' time,'] });
    expect(textOf(all)).toBe('Once upon a');
    expect(all.at(-1)).toMatchObject({ stop_reason: 'STOP_SEQUENCE', stop_sequence_matched: ' time,' });
  });

  it('goes on with a lost answer, without a second start', async () => {
    const whole = await infer(worker, { ...STORY, cache_prompt: false });
    const tokens = eventsOf(whole, 'token');
    const resume = {
      prompt_ids: [2046, 320, 10, 589, 2047, 10, 2046],
      ids: tokens.slice(0, 30).flatMap((token) => token.ids ?? []),
      next_i: 30,
    };
    const all = await infer(worker, { ...STORY, max_tokens: 40, resume });
    expect(eventsOf(all, 'started')).toHaveLength(0);
    expect(eventsOf(all, 'token').map((token) => token.i)).toEqual([30, 31, 32, 33, 34, 35, 36, 37, 38, 39]);
    expect(all.at(-1)).toMatchObject({ type: 'end', tokens_out: 40, resumed_tokens: 30, prompt_tokens: 7 });
    expect(eventsOf(whole, 'end')[0]).not.toHaveProperty('resumed_tokens');
    expect(eventsOf(all, 'narration').map(({ human }) => human)).toContainEqual(
      expect.stringMatching(/^generated 10 more tokens in /),
    );
  });

  it('tells the tokens of the prompt to who wants to go on elsewhere, and what is sampled goes on by a rule', async () => {
    const sampled = { prompt: 'Tell me a story', temperature: 1, seed: 4_000_000_000, cache_prompt: false };
    const whole = await infer(worker, { ...sampled, max_tokens: 12, resumable: true });
    const prompt_ids = eventsOf(whole, 'started')[0]?.prompt_ids ?? [];
    expect(prompt_ids).toHaveLength(eventsOf(whole, 'end')[0]?.prompt_tokens ?? -1);
    expect(eventsOf(await infer(worker, { ...sampled, max_tokens: 1 }), 'started')[0]).not.toHaveProperty('prompt_ids');
    const ids = eventsOf(whole, 'token').flatMap((token) => token.ids ?? []);
    const goOn = async (seed: number, delivered: number[]) => {
      const resume = { prompt_ids, ids: delivered, next_i: delivered.length };
      const all = await infer(worker, { ...sampled, seed, max_tokens: delivered.length + 20, resume, resumable: true });
      expect(eventsOf(all, 'started')).toEqual([]);
      return eventsOf(all, 'token').flatMap((token) => token.ids ?? []);
    };
    const rest = await goOn(sampled.seed, ids);
    expect(rest.length).toBeGreaterThan(0);
    expect(await goOn(sampled.seed, ids)).toEqual(rest);
    // The seed that a plain request would need to take the same turn from the same tokens.
    const seed = seedOfResumed(sampled.seed, ids.length);
    const plain = await goOn((seed - Math.imul(0x9e3779b9, ids.length)) >>> 0, ids);
    expect(plain).toEqual(rest);
    expect(await goOn(seed, ids)).not.toEqual(rest);
  });

  it.each<[string, InferenceRequestInput, string, object]>([
    [
      'several bad fields',
      { prompt: '', temperature: 3, top_p: -1 },
      'INVALID_REQUEST',
      { errors: expect.arrayContaining([expect.objectContaining({ field: 'temperature' })]) },
    ],
    ['no prompt', {}, 'INVALID_REQUEST', {}],
    [
      'more than the context holds',
      { ...STORY, max_tokens: 1013 },
      'CONTEXT_LENGTH_EXCEEDED',
      { prompt_tokens: 12, required: 1025, context_size: 1024 },
    ],
    [
      'tokens of another model',
      { ...STORY, resume: { prompt_ids: [4000], ids: [], next_i: 0 } },
      'INVALID_REQUEST',
      {},
    ],
  ])('refuses %s', async (_what, body, code, details) => {
    await expect(infer(worker, body)).rejects.toMatchObject({ code, details: expect.objectContaining(details) });
    expect(await status(worker)).toMatchObject({ slots_available: 2 });
  });

  it('proves by one token that its engine works, which counts as nothing', async () => {
    await infer(worker, { ...STORY, max_tokens: 1 });
    const before = await status(worker);
    for (let time = 0; time < 3; time++) {
      const { outcome, ms } = await callJson(worker.target, workerRoutes.canary);
      expect([outcome, ms > 0 && ms < 2000]).toEqual(['passed', true]);
    }
    expect(await status(worker)).toEqual(before);
    expect(eventsOf(await infer(worker, { ...STORY, max_tokens: 1 }), 'end')[0]?.cached_tokens).toBe(11);
  });

  it('has no slot for such a token while jobs have them all, and says how long its step takes', async () => {
    const abort = new AbortController();
    const jobs = await Promise.all([1, 2].map(() => openInference(worker, ENDLESS, abort.signal)));
    for (const { events } of jobs) await readUpTo(events, 'token');
    expect(await callJson(worker.target, workerRoutes.canary)).toMatchObject({ outcome: 'busy' });
    const steps: number[] = [];
    while (steps.length < 3) {
      const { step_ms } = await callJson(worker.target, workerRoutes.health);
      if (step_ms !== undefined) steps.push(step_ms);
    }
    expect(Math.max(...steps)).toBeLessThan(5000);
    abort.abort(new Error('enough'));
    for (const { events } of jobs) await expect(readRest(events)).rejects.toThrow('enough');
    while ((await status(worker)).slots_available < 2);
    expect(await callJson(worker.target, workerRoutes.health)).not.toHaveProperty('step_ms');
  });

  it('refuses a prompt that is far too long at once, and a cancelled one in the middle of its tokens', async () => {
    const prompt = 'The quick brown fox. '.repeat(12_000);
    await expect(infer(worker, { ...STORY, prompt })).rejects.toMatchObject({
      code: 'CONTEXT_LENGTH_EXCEEDED',
      status: 400,
    });
    const before = await status(worker);
    const refused = infer(worker, { ...STORY, prompt: 'fox '.repeat(10_000), job_id: 'long' });
    await expect(refused).rejects.toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED' });
    // It never had a slot, so it is no job that has ended.
    expect(await status(worker)).toEqual(before);
  });

  it('refuses what has no slot, and stays reachable meanwhile', async () => {
    const one = await openInference(worker, { ...ENDLESS, job_id: 'one' });
    await readUpTo(one.events, 'token');
    const again = openInference(worker, { ...STORY, job_id: 'one' });
    await expect(again).rejects.toMatchObject({ code: 'JOB_ALREADY_RUNNING', status: 409 });
    const two = await openInference(worker, { ...ENDLESS, job_id: 'two' });
    await readUpTo(two.events, 'token');
    expect(await status(worker)).toMatchObject({ ready: true, state: 'busy', slots_available: 0 });
    const start = performance.now();
    expect(await callJson(worker.target, workerRoutes.health)).toMatchObject({ status: 'healthy', vram_bytes: 0 });
    expect(performance.now() - start).toBeLessThan(500);
    const busy = await fetch(`${worker.app.url}/execute`, { method: 'POST', body: JSON.stringify(STORY) });
    expect(busy.status).toBe(503);
    expect(busy.headers.get('retry-after')).toBe('1');
    const slots = { slots_total: 2, slots_busy: 2 };
    expect(await busy.json()).toMatchObject({
      error: { code: 'ALL_SLOTS_BUSY', retryable: true, ...slots, details: slots },
    });
    const cancel = (request_id: string) => callJson(worker.target, workerRoutes.cancel, { params: { request_id } });
    await Promise.all([cancel('one'), cancel('two')]);
    expect(await status(worker)).toMatchObject({ state: 'idle', slots_available: 2 });
    for (const { events } of [one, two]) {
      const rest = await readRest(events);
      expect(rest.at(-1)).toMatchObject({ type: 'error', code: 'CANCELLED', status: 499 });
      expect(rest.at(-2)).toMatchObject({ type: 'narration', action: 'cancelled' });
    }
    await cancel('one');
    await cancel('never-seen');
  });

  it('stops when its client goes away', async () => {
    const abort = new AbortController();
    const { events } = await openInference(worker, ENDLESS, abort.signal);
    await readUpTo(events, 'token');
    const start = performance.now();
    abort.abort(new Error('gone'));
    await expect(readRest(events)).rejects.toThrow('gone');
    while ((await status(worker)).slots_available < 2) expect(performance.now() - start).toBeLessThan(1000);
  });

  it('keeps to a deadline, before and while it generates', async () => {
    const call = (deadline: number) => callStream(worker.target, workerRoutes.infer, { body: ENDLESS, deadline });
    await expect(call(systemClock.now() - 1)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT', status: 408 });
    const deadline = systemClock.now() + 60;
    const { messages } = await call(deadline);
    let last = '';
    for await (const message of messages) last = message.data;
    const details = { deadline: new Date(deadline).toISOString() };
    expect(JSON.parse(last)).toMatchObject({ type: 'error', code: 'REQUEST_TIMEOUT', status: 408, details });
  });

  it.each(['/health', '/v1/health', '/ready', '/v1/ready', '/loading/progress'])('answers GET %s', async (path) => {
    expect((await fetch(worker.app.url + path)).status).toBe(200);
  });

  it('is not stopped for idleness while it is used', async () => {
    await infer(worker, { ...STORY, max_tokens: 1 });
    const body = { only_if_idle_ms: 60_000 };
    const answer = await fetch(`${worker.app.url}/shutdown`, { method: 'POST', body: JSON.stringify(body) });
    expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ draining: false })]);
    expect(await status(worker)).toMatchObject({ ready: true });
  });
});

describe('a worker with a key', () => {
  it('demands it everywhere but for health', async () => {
    const worker = await startTestWorker({ key: KEY });
    const call = (route: Route, headers: Record<string, string> = {}) =>
      fetch(worker.app.url + route.path.replace('{request_id}', 'x'), { method: route.method, headers });
    try {
      for (const [name, route] of Object.entries<Route>(workerRoutes)) {
        expect([name, (await call(route)).status]).toEqual([name, name === 'health' ? 200 : 401]);
        const wrong = await call(route, { authorization: 'Bearer wrong' });
        expect([name, wrong.status]).toEqual([name, name === 'health' ? 200 : 401]);
      }
      expect((await call(workerRoutes.ready, { authorization: `Bearer ${KEY.reveal()}` })).status).toBe(200);
    } finally {
      await worker.stop();
    }
  });
});

describe('a worker that shuts down', () => {
  it('finishes what runs, refuses what is new, tells its hive, and ends with 0', async () => {
    const hive = await startFakeHive(systemClock);
    const worker = await startTestWorker({ callbackUrl: hive.url });
    await loadToTheEnd(worker);
    const { events } = await openInference(worker, STORY);
    const { events: others } = await openInference(worker, { ...STORY, prompt: 'Write a poem about a cat.' });
    await readUpTo(events, 'token');
    await readUpTo(others, 'token');
    expect(await callJson(worker.target, workerRoutes.shutdown, { body: {} })).toMatchObject({ draining: true });
    expect(await callJson(worker.target, workerRoutes.shutdown, { body: {} })).toMatchObject({ draining: true });
    const late = infer(worker, STORY);
    await expect(late).rejects.toMatchObject({ code: 'WORKER_DRAINING', status: 503, retryable: true });
    await expect(callJson(worker.target, workerRoutes.canary)).rejects.toMatchObject({ code: 'WORKER_DRAINING' });
    expect(await status(worker)).toMatchObject({ ready: false, state: 'draining' });
    for (const answer of [events, others]) {
      expect((await readRest(answer)).at(-1)).toMatchObject({ type: 'end', stop_reason: 'EOS' });
    }
    expect(await worker.app.ended).toBe(0);
    expect(hive.heartbeats.at(-1)).toMatchObject({ state: 'draining', jobs_active: 0 });
    expect(worker.narrated.map(({ action }) => action).slice(-3)).toEqual(['shutdown', 'memory_freed', 'exit']);
    await worker.stop();
    await hive.close();
  });

  it('cancels what is not done in time', async () => {
    const worker = await startTestWorker({ timeouts: { ...DEFAULT_TIMEOUTS, drain: 30 } });
    await loadToTheEnd(worker);
    const { events } = await openInference(worker, ENDLESS);
    await readUpTo(events, 'token');
    const stopped = worker.stop();
    expect((await readRest(events)).at(-1)).toMatchObject({ type: 'error', code: 'CANCELLED' });
    await stopped;
    expect(await worker.app.ended).toBe(0);
  });

  it('is not kept by a reader that reads nothing', async () => {
    const worker = await startTestWorker({ timeouts: { ...DEFAULT_TIMEOUTS, drain: 50 } });
    await loadToTheEnd(worker);
    const socket = connect(Number(new URL(worker.app.url).port), '127.0.0.1').pause();
    const body = JSON.stringify(ENDLESS);
    socket.write(`POST /v1/inference HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    while ((await status(worker)).slots_available === 2);
    const start = performance.now();
    await worker.stop();
    expect(await worker.app.ended).toBe(0);
    expect(performance.now() - start).toBeLessThan(50 + 1000 + 500);
    socket.destroy();
  });

  it('ends a prompt that is being read when the time for draining has passed', async () => {
    const worker = await startTestWorker({ timeouts: { ...DEFAULT_TIMEOUTS, drain: 5 } });
    await loadToTheEnd(worker);
    const prompt = 'The dog and the cat walk in the garden. '.repeat(55);
    const { events } = await openInference(worker, { ...STORY, prompt });
    await readUpTo(events, 'started');
    const stopped = worker.stop();
    expect((await readRest(events)).at(-1)).toMatchObject({ type: 'error', code: 'CANCELLED' });
    await stopped;
    expect(await worker.app.ended).toBe(0);
  });
});

describe('a worker whose engine fails for good', () => {
  it('ends its jobs, tells everybody, and ends with 1', async () => {
    const hive = await startFakeHive(systemClock);
    const errors: string[] = [];
    const log: Logger = {
      ...silentLogger,
      error: (_fields, message) => errors.push(message),
      with: () => silentLogger,
    };
    const worker = await startTestWorker({ callbackUrl: hive.url }, log);
    await loadToTheEnd(worker);
    await hive.until(({ callbacks }) => callbacks.length === 2);
    // To who uses it, an engine without its memory is like one whose device is lost.
    await worker.app.status.requireEngine().dispose();
    const all = await infer(worker, { ...STORY, resume: { prompt_ids: [2046, 320, 10], ids: [], next_i: 0 } });
    expect(all.at(-1)).toMatchObject({ type: 'error', code: 'INFERENCE_FAILED' });
    expect(await worker.app.ended).toBe(1);
    expect(hive.callbacks.at(-1)).toMatchObject({ state: 'failed', error: { code: 'INFERENCE_FAILED' } });
    expect(errors).toContainEqual(expect.stringMatching(/^the worker can't go on and ends: the engine failed/));
    expect(worker.narrated.at(-1)).toMatchObject({ action: expect.stringMatching(/error|memory_freed/) });
    await worker.stop();
    await hive.close();
  });
});
