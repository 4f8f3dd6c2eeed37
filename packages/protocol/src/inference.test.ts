import { describe, expect, it } from '@jest/globals';
import { parseInput } from './field.js';
import { inferenceEventSchema, inferenceRequestSchema, normalizeInferenceEvent, seedOfResumed } from './inference.js';
import type { RbeeError } from './rbee-error.js';
import { taskRequestSchema } from './task.js';

const parse = (body: unknown) => parseInput(inferenceRequestSchema, body, 'the request');
const parseTask = (body: unknown) => parseInput(taskRequestSchema, body, 'the request');

function errorsOf(read: () => unknown): { code: string; fields: string[]; error: RbeeError } {
  try {
    read();
  } catch (caught) {
    const error = caught as RbeeError;
    const errors = error.details.errors as { field: string; constraint: string; message: string }[];
    for (const item of errors)
      expect(item).toMatchObject({
        field: expect.any(String),
        constraint: expect.any(String),
        message: expect.any(String),
      });
    return { code: error.code, fields: [...new Set(errors.map(({ field }) => field))].sort(), error };
  }
  throw new Error('the request was accepted');
}

const SAMPLING_DEFAULTS = {
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  stop: [],
  cache_prompt: true,
  stream: true,
  template: 'auto',
};

const TASK_DEFAULTS = {
  temperature: 0.7,
  backend: 'cpu',
  model: 'builtin:honeycomb',
  priority: 'interactive',
  on_disconnect: 'cancel',
  resume: true,
};

describe.each([
  ['an inference request', parse, { temperature: 1, resumable: false, ...SAMPLING_DEFAULTS }],
  ['a task request', parseTask, { ...TASK_DEFAULTS, ...SAMPLING_DEFAULTS }],
] as const)('%s', (_name, read, defaults) => {
  it('needs only a prompt', () => {
    const body = JSON.parse(JSON.stringify(read({ prompt: 'Hello' })));
    expect(body).toEqual({ prompt: 'Hello', ...defaults });
  });

  it('takes null for a missing field', () => {
    const nulls = Object.fromEntries(Object.keys(defaults).map((key) => [key, null]));
    const others = { job_id: null, messages: null, max_tokens: null, seed: null };
    const body = JSON.parse(JSON.stringify(read({ prompt: 'Hello', ...nulls, ...others })));
    expect(body).toEqual({ prompt: 'Hello', ...defaults });
  });

  it('ignores fields that it does not know', () => {
    expect(read({ prompt: 'a', future: { x: 1 }, __proto__x: 1 })).not.toHaveProperty('future');
  });

  it('knows the older name of the job id; the current name wins', () => {
    expect(read({ prompt: 'a', request_id: 'r-1' })).toMatchObject({ job_id: 'r-1' });
    expect(read({ prompt: 'a', request_id: 'r-1', job_id: 'j-1' })).toMatchObject({ job_id: 'j-1' });
    expect(read({ prompt: 'a', request_id: 'r-1', job_id: null })).toMatchObject({ job_id: 'r-1' });
    expect(read({ prompt: 'a', request_id: null })).toHaveProperty('job_id', undefined);
  });

  it('reports every bad field at once', () => {
    const bad = {
      prompt: '',
      max_tokens: 0,
      temperature: 2.1,
      top_p: 1.1,
      top_k: -1,
      min_p: -0.1,
      repetition_penalty: 0,
      seed: 2 ** 32,
      stop: ['a', 'b', 'c', 'd', 'e'],
      stream: 'yes',
      cache_prompt: 1,
      template: 'chatml',
      job_id: 'a b',
    };
    const { code, fields } = errorsOf(() => read(bad));
    expect(code).toBe('INVALID_REQUEST');
    expect(fields).toEqual(Object.keys(bad).sort());
  });

  it('reports a missing prompt together with other faults', () => {
    expect(errorsOf(() => read({ temperature: -1, seed: 0.5 })).fields).toEqual(['prompt', 'seed', 'temperature']);
  });

  it('takes exactly one of prompt and messages', () => {
    const messages = [{ role: 'user', content: 'Hello' }];
    expect(read({ messages })).toMatchObject({ messages });
    expect(errorsOf(() => read({})).fields).toEqual(['prompt']);
    expect(errorsOf(() => read({ prompt: 'a', messages })).fields).toEqual(['prompt']);
    expect(errorsOf(() => read({ messages, template: 'none' })).fields).toEqual(['template']);
    expect(errorsOf(() => read({ messages: [] })).fields).toContain('messages');
    expect(errorsOf(() => read({ messages: [{ role: 'robot', content: 'x\0' }] })).fields).toEqual([
      'messages.0.content',
      'messages.0.role',
    ]);
  });

  it('takes values at their bounds', () => {
    const least = { temperature: 0, top_p: 0, min_p: 0, repetition_penalty: 0.01, seed: 0, max_tokens: 1, top_k: 0 };
    const most = { temperature: 2, top_p: 1, min_p: 1, repetition_penalty: 2, seed: 2 ** 32 - 1, top_k: 1000 };
    expect(read({ prompt: 'a', ...least })).toMatchObject(least);
    expect(read({ prompt: 'a', ...most })).toMatchObject(most);
  });

  it('takes one stop text or up to four', () => {
    expect(read({ prompt: 'a', stop: 'x' })).toMatchObject({ stop: ['x'] });
    expect(read({ prompt: 'a', stop: ['a', 'b', 'c', 'd'] })).toMatchObject({ stop: ['a', 'b', 'c', 'd'] });
    for (const stop of ['', 'x'.repeat(101), [''], [1], 5])
      expect(errorsOf(() => read({ prompt: 'a', stop })).fields).toEqual([expect.stringMatching(/^stop/)]);
  });

  it('never echoes the prompt', () => {
    const { error } = errorsOf(() => read({ prompt: 'my secret\0', temperature: 9 }));
    expect(JSON.stringify([error.message, error.details])).not.toContain('my secret');
  });

  it.each([null, [], 'text', 5, true, undefined])('must be an object: %p', (body) => {
    expect(errorsOf(() => read(body))).toMatchObject({ code: 'INVALID_REQUEST', fields: ['(body)'] });
  });
});

describe('a task request', () => {
  it('knows the older name of the model', () => {
    expect(parseTask({ prompt: 'a', model_ref: 'hf:org/repo' })).toMatchObject({ model: 'hf:org/repo' });
    expect(parseTask({ prompt: 'a', model_ref: 'hf:org/repo', model: 'hf:org/other' })).toMatchObject({
      model: 'hf:org/other',
    });
  });

  it.each([
    ['model', 'tinyllama', 'INVALID_MODEL_REF'],
    ['backend', 'rocm', 'INVALID_BACKEND'],
    ['device', -1, 'INVALID_DEVICE'],
    ['node', 'a@b', 'INVALID_NODE_NAME'],
    ['timeout_seconds', 0, 'INVALID_REQUEST'],
  ])('with a bad %s has its own code', (field, value, code) => {
    expect(errorsOf(() => parseTask({ prompt: 'a', [field]: value }))).toMatchObject({ code, fields: [field] });
  });

  it('with faults of several kinds is a bad request', () => {
    const faults = errorsOf(() => parseTask({ prompt: 'a', model: 'x', backend: 'y' }));
    expect(faults).toMatchObject({ code: 'INVALID_REQUEST', fields: ['backend', 'model'] });
  });
});

describe('an inference request', () => {
  it('may go on where another one was lost', () => {
    const resume = { prompt_ids: [1, 2], ids: [], next_i: 0 };
    expect(parse({ prompt: 'a', resume })).toMatchObject({ resume });
    expect(errorsOf(() => parse({ prompt: 'a', resume: { prompt_ids: [], ids: [-1], next_i: 0.5 } })).fields).toEqual([
      'resume.ids.0',
      'resume.next_i',
      'resume.prompt_ids',
    ]);
  });
});

describe('an older event', () => {
  it('becomes a token or an end', () => {
    const token = normalizeInferenceEvent({ token: 'Once', index: 3 });
    expect(inferenceEventSchema.parse(token)).toMatchObject({ type: 'token', t: 'Once', i: 3 });
    const end = normalizeInferenceEvent({ done: true, total_tokens: 20, duration_ms: 900 });
    expect(inferenceEventSchema.parse(end)).toMatchObject({
      type: 'end',
      tokens_out: 20,
      decode_time_ms: 900,
      stop_reason: 'EOS',
    });
  });

  it.each([
    { type: 'token', t: 'a', i: 0, token: 'b', index: 1 },
    { token: 'a' },
    { done: false, total_tokens: 1, duration_ms: 1 },
    { type: 'future' },
    null,
    'text',
    [],
  ])('of no older shape stays as it is: %j', (event) => expect(normalizeInferenceEvent(event)).toBe(event));
});

describe('the seed of a resumed generation', () => {
  it.each([
    [7, 0, 7],
    [0, 1, 0x9e3779b9],
    [0xffffffff, 1, 0x9e3779b8],
    [7, 3, (7 + 3 * 0x9e3779b9) % 2 ** 32],
  ])('%d behind %d tokens is %d', (seed, delivered, expected) => {
    expect(seedOfResumed(seed, delivered)).toBe(expected);
  });

  it('differs after every number of tokens', () => {
    const seeds = Array.from({ length: 5_000 }, (_, delivered) => seedOfResumed(42, delivered));
    expect(new Set(seeds).size).toBe(seeds.length);
    for (const seed of seeds) expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
  });
});
