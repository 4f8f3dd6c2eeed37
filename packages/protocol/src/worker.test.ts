import { describe, expect, it } from '@jest/globals';
import { parseInput } from './field.js';
import {
  capabilitySchema,
  heartbeatSchema,
  loadProgressSchema,
  readyCallbackSchema,
  spawnRequestSchema,
  workerShutdownSchema,
} from './worker.js';

describe('a spawn request', () => {
  it('knows the older name of the model', () => {
    expect(parseInput(spawnRequestSchema, { model_ref: 'hf:org/repo', backend: 'cpu' }, 'the request')).toMatchObject({
      model: 'hf:org/repo',
      backend: 'cpu',
    });
  });

  it('reports every bad field at once', () => {
    const body = { model: '/etc/passwd', backend: 'gpu', device: -1, slots_total: 0, context_size: 1 };
    expect(() => parseInput(spawnRequestSchema, body, 'the request')).toThrow(
      expect.objectContaining({
        code: 'INVALID_REQUEST',
        details: expect.objectContaining({
          errors: Object.keys(body).map((field) => expect.objectContaining({ field })),
        }),
      }),
    );
  });
});

const memory = {
  weights_bytes: 1,
  kv_cache_bytes: 2,
  compute_bytes: 3,
  total_bytes: 6,
  context_size: 512,
  slots: 1,
};

describe('a ready callback', () => {
  const callback = {
    worker_id: 'worker-1',
    url: 'http://127.0.0.1:8001',
    model_ref: 'hf:org/repo',
    backend: 'cpu',
    device: 0,
  };

  it('without a state means loading', () => {
    expect(readyCallbackSchema.parse(callback).state).toBe('loading');
    expect(readyCallbackSchema.parse({ ...callback, state: null, vram_bytes: null }).state).toBe('loading');
  });

  it('may say why the model could not be loaded', () => {
    const error = { code: 'MODEL_LOAD_FAILED', message: 'bad file' };
    expect(readyCallbackSchema.parse({ ...callback, state: 'failed', error })).toMatchObject({
      state: 'failed',
      error,
    });
  });

  it('is refused with an unknown state', () => {
    expect(readyCallbackSchema.safeParse({ ...callback, state: 'asleep' }).success).toBe(false);
  });

  it.each([
    ['url', 'not a url'],
    ['url', 'http://127.0.0.1:8001/path'],
    ['url', 'http://127.0.0.1:8001\n'],
    ['model_ref', 'no reference'],
    ['model_ref', 'file:///models/../x.gguf'],
    ['slots_total', -1],
    ['slots_total', 257],
    ['slots_available', 1.5],
    ['pid', 1],
    ['pid', -4711],
    ['vram_bytes', -1],
    ['memory', { ...memory, weights_bytes: -1 }],
    ['error', { code: 'no code', message: 'x' }],
    ['error', { code: '\u001b[31m', message: 'x' }],
  ])('is refused with the %s %j', (field, value) => {
    expect(() => parseInput(readyCallbackSchema, { ...callback, [field]: value }, 'the request')).toThrow(
      expect.objectContaining({ status: 400 }),
    );
  });

  it('may have figures', () => {
    const figures = { memory, slots_total: 4, slots_available: 0, pid: 4711, vram_bytes: 0 };
    expect(readyCallbackSchema.parse({ ...callback, ...figures })).toMatchObject(figures);
  });

  it('is taken with a message of whatever characters, which then can be shown', () => {
    const error = { code: 'MODEL_LOAD_FAILED', message: 'line 1\nline 2\u001b[2J', details: { file: 'a\0' } };
    expect(readyCallbackSchema.parse({ ...callback, state: 'failed', error }).error).toEqual({
      code: 'MODEL_LOAD_FAILED',
      message: 'line 1 line 2\ufffd[2J',
      details: { file: 'a\ufffd' },
    });
  });
});

it('a heartbeat needs id, time and health only', () => {
  const beat = { worker_id: 'worker-1', timestamp: '2030-01-01T00:00:00Z', health_status: 'healthy' };
  expect(heartbeatSchema.parse(beat)).toMatchObject(beat);
  expect(heartbeatSchema.safeParse({ ...beat, health_status: 'fine' }).success).toBe(false);
});

it.each([
  { timestamp: 'now' },
  { timestamp: '2030-01-01T00:00:00Z\n' },
  { last_job_ended_at: '<b>' },
  { slots_available: -1 },
  { slots_available: 1_000 },
  { jobs_active: -1 },
])('a heartbeat is refused with %j', (fault) => {
  const beat = { worker_id: 'worker-1', timestamp: '2030-01-01T00:00:00Z', health_status: 'healthy' };
  expect(heartbeatSchema.safeParse({ ...beat, ...fault }).success).toBe(false);
});

describe('a capability', () => {
  it.each(['cpu', 'cuda', 'cuda:1', 'vulkan:127', 'metal:0'])('may be %s', (text) =>
    expect(capabilitySchema.parse(text)).toBe(text),
  );

  it.each([
    ['', 'unknown_backend'],
    ['rocm', 'unknown_backend'],
    ['cuda:', 'unknown_backend'],
    ['cuda:-1', 'unknown_backend'],
    ['cuda:1000', 'unknown_backend'],
    ['cuda:1\n', 'newline'],
    ['\u001b[31mcpu', 'ansi_escape'],
    ['cpu;id', 'shell_metacharacters'],
    ['x'.repeat(1_000), 'unknown_backend'],
  ])('may not be %j: %s', (text, reason) => {
    expect(() => parseInput(capabilitySchema, text, 'the query')).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', details: expect.objectContaining({ reason }) }),
    );
  });
});

it('a shutdown may be limited to an idle worker', () => {
  expect(workerShutdownSchema.parse({})).toEqual({ only_if_idle_ms: undefined });
  expect(workerShutdownSchema.parse({ only_if_idle_ms: 0 })).toEqual({ only_if_idle_ms: 0 });
  expect(workerShutdownSchema.safeParse({ only_if_idle_ms: -1 }).success).toBe(false);
});

it('load progress is told apart by its stage', () => {
  const loading = { stage: 'loading_to_vram', layers_loaded: 12, layers_total: 32, vram_mb: 0 };
  expect(loadProgressSchema.parse(loading)).toEqual(loading);
  expect(loadProgressSchema.parse({ stage: 'ready' })).toEqual({ stage: 'ready' });
  expect(loadProgressSchema.safeParse({ stage: 'loading_to_vram' }).success).toBe(false);
});
