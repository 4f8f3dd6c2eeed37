import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError, VERSION } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { ScriptedWorker, say } from './testing/scripted-worker.js';
import { TestQueen } from './testing/test-queen.js';

describe('a task for which a worker runs already', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let queen: TestQueen;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker(4));
    queen = await TestQueen.start({ hivePort: hive.port });
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('is answered by that worker, without a preflight or a new worker', async () => {
    worker.script = say(['Once', ' upon', ' a time']);
    const answer = await queen.task({ job_id: 'job-1', max_tokens: 7, stop: 'END' });
    const events = await answer.all;
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toBe('job-1');
    expect(events.map(({ type }) => type)).toEqual([
      'accepted',
      'narration',
      'narration',
      'worker',
      'started',
      'token',
      'token',
      'token',
      'end',
      '[DONE]',
    ]);
    expect(events[3]).toMatchObject({ worker_id: worker.id, node: 'localhost', url: worker.url, reused: true });
    expect(hive.calls).not.toContain('resources');
    expect(hive.spawned).toEqual([]);
  });

  it('reaches the worker with every field that concerns it, and with one correlation id', async () => {
    let seen: { request: unknown; headers: Record<string, unknown> } | undefined;
    worker.script = async (job) => {
      seen = job;
      await say(['x'])(job);
    };
    const body = {
      messages: [{ role: 'user', content: 'hi' }],
      prompt: undefined,
      temperature: 0,
      seed: 5,
      stop: ['a'],
    };
    const headers = { 'X-Correlation-Id': 'corr-1' };
    const answer = await queen.task({ ...body, timeout_seconds: 60 }, { headers });
    const events = await answer.all;
    expect(seen?.request).toMatchObject({
      messages: body.messages,
      temperature: 0,
      seed: 5,
      stop: ['a'],
      template: 'auto',
    });
    expect(seen?.headers['x-correlation-id']).toBe('corr-1');
    const deadline = Date.parse(String(seen?.headers['x-request-deadline']));
    expect(deadline - Date.now()).toBeGreaterThan(50_000);
    expect(deadline - Date.now()).toBeLessThanOrEqual(60_000);
    const narrated = events.filter(({ type }) => type === 'narration' || type === 'accepted');
    expect(new Set(narrated.map(({ correlation_id }) => correlation_id))).toEqual(new Set(['corr-1']));
    expect(events.filter(({ type }) => type === 'narration').map(({ action }) => action)).toEqual([
      'task_accepted',
      'worker_assigned',
    ]);
  });

  it('gives the worker a deadline of 300 s when the client gives none', async () => {
    let header: unknown;
    worker.script = async (job) => {
      header = job.headers['x-request-deadline'];
      await say(['x'])(job);
    };
    await (await queen.task()).all;
    const remaining = Date.parse(String(header)) - Date.now();
    expect(remaining).toBeGreaterThan(290_000);
    expect(remaining).toBeLessThanOrEqual(300_000);
  });

  it('passes narration and metrics on in their place, older shapes in today’s form, and skips the rest', async () => {
    const narration = {
      type: 'narration',
      actor: 'tokenizer',
      action: 'tokenize',
      target: 'p',
      human: 'read 3 tokens',
    };
    const metrics = {
      type: 'metrics',
      job_id: 'j',
      tokens_out: 1,
      tokens_per_sec: 1,
      decode_time_ms: 1,
      vram_bytes: 0,
    };
    worker.script = async ({ stream }) => {
      stream.sendFrame(`event: narration\ndata: ${JSON.stringify(narration)}\n\n`);
      stream.sendFrame('event: token\ndata: {"type":"token","t":"one","i":0}\n\n');
      stream.sendFrame('event: token\ndata: not an object\n\n');
      stream.sendFrame('event: hologram\ndata: {"type":"hologram"}\n\n');
      stream.sendFrame(`event: metrics\ndata: ${JSON.stringify(metrics)}\n\n`);
      stream.sendFrame('event: metrics\ndata: {"type":\n\n');
      stream.sendFrame('data: {"token":"two","index":1}\n\n');
      stream.sendFrame('data: nonsense\n\n');
      stream.sendFrame('data: {"done":true,"total_tokens":2,"duration_ms":5}\n\n', true);
    };
    const events = await (await queen.task()).all;
    const fromWorker = events.slice(events.findIndex(({ type }) => type === 'started') + 1);
    expect(fromWorker).toEqual([
      narration,
      { type: 'token', t: 'one', i: 0 },
      metrics,
      { type: 'token', t: 'two', i: 1 },
      { type: 'end', tokens_out: 2, decode_time_ms: 5, stop_reason: 'EOS' },
      { type: '[DONE]' },
    ]);
  });

  it('keeps the bytes of every token', async () => {
    const data = '{"t":"\\u00e9 \\ud83d\\udc1d","type":"token","i":0,"ids":[1,2], "x":1}';
    worker.script = async (job) => {
      job.stream.sendFrame(`event: token\ndata: ${data}\n\n`);
      await say([])(job);
    };
    const response = await queen.call('POST', '/v2/tasks', {
      body: { prompt: 'p' },
      headers: { Accept: 'text/event-stream' },
    });
    expect(await response.text()).toContain(`event: token\ndata: ${data}\n\n`);
  });

  it('holds the status line back for a client that did not ask for a stream', async () => {
    const response = await queen.call('POST', '/v2/tasks', { body: { prompt: 'p' } });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const text = await response.text();
    expect(text.startsWith('id: 1-1\nevent: accepted\n')).toBe(true);
    expect(text.match(/event: (end|error)\n/g)).toEqual(['event: end\n']);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('shows a failure as the status to a client that did not ask for a stream', async () => {
    hive.remove(worker.id);
    hive.spawnError = new RbeeError('VRAM_EXHAUSTED', 'need 6000 MB, have 4000 MB', {
      details: { required: 6000, available: 4000 },
    });
    const { status, body, headers } = await queen.json('POST', '/v2/tasks', { prompt: 'p' });
    expect(status).toBe(507);
    expect(body.error).toMatchObject({ code: 'VRAM_EXHAUSTED', details: { required: 6000, available: 4000 } });
    expect(headers.get('x-correlation-id')).toBe(body.error.correlation_id);
  });

  it('answers one JSON body when no stream is wanted', async () => {
    worker.script = say(['Once', ' upon']);
    const task = { prompt: 'p', stream: false, job_id: 'j1' };
    const { status, headers, body } = await queen.json('POST', '/v2/tasks', task);
    expect([status, headers.get('x-request-id')]).toEqual([200, 'j1']);
    expect(body).toEqual({ job_id: 'j1', text: 'Once upon', tokens_out: 2, decode_time_ms: 1, stop_reason: 'EOS' });
  });

  it('reports the error of a worker in the way the client asked for', async () => {
    worker.script = async ({ stream }) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      stream.send({
        type: 'error',
        code: 'INFERENCE_FAILED',
        message: 'the engine failed',
        details: {},
        status: 500,
        retryable: false,
        correlation_id: undefined,
      });
    };
    const events = await (await queen.task()).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'INFERENCE_FAILED' });
    const { status, body } = await queen.json('POST', '/v2/tasks', { prompt: 'p', stream: false });
    expect([status, body.error.code]).toEqual([500, 'INFERENCE_FAILED']);
  });

  it.each([
    ['an unknown node', { node: 'workstation' }, 404, 'NODE_NOT_FOUND'],
    ['no prompt', { prompt: '' }, 400, 'INVALID_REQUEST'],
    ['a bad model reference', { model: 'llama' }, 400, 'INVALID_MODEL_REF'],
    ['a bad backend', { backend: 'rocm' }, 400, 'INVALID_BACKEND'],
    ['a bad device', { device: -1 }, 400, 'INVALID_DEVICE'],
  ])('refuses %s before the stream opens', async (_what, fields, status, code) => {
    const answer = await queen.call('POST', '/v2/tasks', {
      body: { prompt: 'p', ...fields },
      headers: { Accept: 'text/event-stream' },
    });
    const body = (await answer.json()) as { error: { code: string; details: Record<string, string> } };
    expect([answer.status, body.error.code]).toEqual([status, code]);
    if (code === 'NODE_NOT_FOUND') {
      expect(body.error.details.suggestion).toContain('rbee-keeper setup add-node --name workstation --ssh-host');
    }
    expect(worker.asked).toEqual([]);
  });

  it('refuses another task with the id of one that runs, or has ended lately', async () => {
    worker.script = async ({ stream }) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      await new Promise(() => undefined);
    };
    const first = await queen.task({ job_id: 'twice' });
    await first.until('token');
    const expectRefused = async () => {
      const { status, body } = await queen.json('POST', '/v2/tasks', { prompt: 'other', job_id: 'twice' });
      expect([status, body.error.code]).toEqual([409, 'JOB_ALREADY_RUNNING']);
    };
    await expectRefused();
    await queen.call('DELETE', '/v2/tasks/twice');
    await first.all;
    await expectRefused();
    expect(worker.asked).toEqual(['twice']);
  });

  it('refuses a caller of another version', async () => {
    const headers = { 'X-Rbee-Version': '0.9.0' };
    const response = await queen.call('POST', '/v2/tasks', { body: { prompt: 'p' }, headers });
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    expect([response.status, error.code]).toEqual([409, 'VERSION_MISMATCH']);
    expect(error.message).toContain('0.9.0');
    expect(error.message).toContain(VERSION);
    const hostile = { 'X-Rbee-Version': '<b>9</b>' };
    const refused = await queen.call('POST', '/v2/tasks', { body: { prompt: 'p' }, headers: hostile });
    expect(refused.status).toBe(409);
    expect(await refused.text()).not.toContain('<b>');
  });
});
