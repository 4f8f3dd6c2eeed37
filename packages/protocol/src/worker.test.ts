import { describe, expect, it } from '@jest/globals';
import { parseInput } from './field.js';
import {
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
});

it('a heartbeat needs id, time and health only', () => {
  const beat = { worker_id: 'worker-1', timestamp: '2030-01-01T00:00:00Z', health_status: 'healthy' };
  expect(heartbeatSchema.parse(beat)).toMatchObject(beat);
  expect(heartbeatSchema.safeParse({ ...beat, health_status: 'fine' }).success).toBe(false);
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
