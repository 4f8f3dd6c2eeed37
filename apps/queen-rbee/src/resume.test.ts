import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import fc from 'fast-check';
import { ScriptedHive } from './testing/scripted-hive.js';
import { type JobScript, recite, type ScriptedJob, ScriptedWorker } from './testing/scripted-worker.js';
import { type SentEvent, TestQueen, type TestQueenOptions } from './testing/test-queen.js';

const MODEL = 'hf:bees/tiny:q4_k_m';
const PROMPT_IDS = [7, 8, 9];
const WORDS = Array.from({ length: 40 }, (_, index) => ` word${index}`);

describe('a task whose worker is lost after tokens have gone out', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;
  let digest: string | undefined;

  const makeWorker = (script: JobScript = recite(WORDS), slots = 2) => {
    const worker = new ScriptedWorker(slots);
    worker.promptIds = PROMPT_IDS;
    worker.digest = digest;
    worker.script = script;
    return worker;
  };
  const addWorker = (script?: JobScript, slots?: number) => hive.addWorker(makeWorker(script, slots), { model: MODEL });
  /** A worker that is killed in place of a token. */
  const addMortal = (at: number) => {
    const worker = makeWorker();
    worker.script = recite(WORDS, { at, act: () => worker.crash() });
    return hive.addWorker(worker, { model: MODEL });
  };
  const begin = async (options: Partial<TestQueenOptions> = {}) => {
    const timeouts = { stall: 2_000, cancel_ack: 200, busy_retry: 20, ready_poll: 20, ...options.timeouts };
    queen = await TestQueen.start({ hivePort: hive.port, ...options, timeouts });
  };
  const run = async (body: object = {}) => (await queen.task({ job_id: 'j', model: MODEL, ...body })).all;
  const terminals = (events: SentEvent[]) => events.filter(({ type }) => type === 'end' || type === 'error');
  const tokens = (events: SentEvent[]) => events.filter(({ type }) => type === 'token');
  const said = (events: SentEvent[], action: string) => events.filter((event) => event.action === action);
  const expectWhole = (events: SentEvent[], words: readonly string[] = WORDS) => {
    expect(terminals(events)).toMatchObject([{ type: 'end', tokens_out: words.length }]);
    expect(tokens(events).map(({ t }) => t)).toEqual(words);
    expect(tokens(events).map(({ i }) => i)).toEqual(words.map((_, index) => index));
    expect(events.filter(({ type }) => type === 'started')).toHaveLength(1);
    expect(events.at(-1)).toEqual({ type: '[DONE]' });
  };

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    hive.makeWorker = () => makeWorker();
    digest = hive.models.add(MODEL, 'weights').digest;
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('goes on at another worker, and the client sees one unbroken stream', async () => {
    const first = await addMortal(12);
    await begin();
    await queen.untilStates('idle');
    let resumed: ScriptedJob | undefined;
    const second = await addWorker(async (job) => {
      resumed = job;
      await recite(WORDS)(job);
    });
    hive.setState(second.id, 'busy');
    await queen.untilStates('idle', 'busy');
    const events = await run({ seed: 5, temperature: 1 });
    expectWhole(events);
    expect(hive.spawned).toEqual([]);
    expect(resumed?.request).toMatchObject({
      resumable: true,
      seed: 5,
      resume: { prompt_ids: PROMPT_IDS, ids: Array.from({ length: 12 }, (_, index) => index + 1), next_i: 12 },
    });
    expect(said(events, 'task_resume')).toMatchObject([
      { level: 'warn', worker_id: first.id, human: 'going on with another worker' },
    ]);
    expect(said(events, 'task_resumed')).toMatchObject([{ target: first.id, worker_id: second.id }]);
  });

  it('does not go on with another model of the same name', async () => {
    const first = await addMortal(12);
    digest = 'e'.repeat(64);
    const other = await addWorker();
    hive.setState(other.id, 'busy');
    digest = first.digest;
    await begin();
    await queen.untilStates('idle', 'busy');
    expectWhole(await run());
    expect(other.asked).toEqual([]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('goes on at the same machine where the digest of the model is not known', async () => {
    digest = undefined;
    await addMortal(12);
    await begin();
    expectWhole(await run());
  });

  it('keeps the tokens of the prompt to itself', async () => {
    await addWorker();
    await begin();
    const events = await run();
    const started = events.find(({ type }) => type === 'started');
    expect(started).toMatchObject({ job_id: 'j', model: 'scripted' });
    expect(JSON.stringify(events)).not.toContain('prompt_ids');
    expectWhole(events);
  });

  it('gets a worker that is started when there is no other, with the same deadline', async () => {
    const deadlines: unknown[] = [];
    const first = await addMortal(3);
    const note =
      (script: JobScript): JobScript =>
      (job) => {
        deadlines.push(job.headers['x-request-deadline']);
        return script(job);
      };
    first.script = note(first.script);
    hive.makeWorker = () => makeWorker(note(recite(WORDS)));
    await begin();
    expectWhole(await run());
    expect(hive.spawned).toHaveLength(1);
    expect(deadlines).toHaveLength(2);
    expect(new Set(deadlines).size).toBe(1);
    expect(deadlines[0]).toMatch(/^\d{4}-/);
  });

  it('goes on in one JSON body as well', async () => {
    await addMortal(9);
    await begin();
    const { body } = await queen.json('POST', '/v2/tasks', { model: MODEL, prompt: 'p', stream: false });
    expect(body).toMatchObject({ text: WORDS.join(''), tokens_out: WORDS.length });
  });

  it.each([
    ['the client does not want it', { body: { resume: false }, variables: {} }],
    ['nothing is to be tried again', { body: {}, variables: { RBEE_NO_RETRY: '1' } }],
  ])('ends with the loss when %s', async (_why, { body, variables }) => {
    const first = await addMortal(12);
    await begin({ variables });
    const events = await run(body);
    const [error] = terminals(events);
    expect(error).toMatchObject({ code: 'WORKER_CRASHED', retryable: true });
    expect(error?.details).toMatchObject({ tokens_out: 12, worker_id: first.id });
    expect(error?.details).not.toHaveProperty('resume');
    expect(tokens(events)).toHaveLength(12);
    expect(hive.spawned).toEqual([]);
  });

  it('says why it cannot go on when the worker told too little', async () => {
    const worker = await addMortal(4);
    worker.promptIds = undefined;
    await begin();
    const [error] = terminals(await run());
    expect(error).toMatchObject({
      code: 'WORKER_CRASHED',
      details: { tokens_out: 4, resume: 'RESUME_IMPOSSIBLE', resume_reason: expect.stringContaining('prompt') },
    });
  });

  it('says why it cannot go on when no worker can be had', async () => {
    await addMortal(4);
    hive.spawnError = new RbeeError('INSUFFICIENT_RAM', 'there is no memory left');
    await begin();
    const [error] = terminals(await run());
    expect(error).toMatchObject({
      code: 'WORKER_CRASHED',
      details: { tokens_out: 4, resume: 'RESUME_IMPOSSIBLE', resume_reason: 'there is no memory left' },
    });
  });

  it('does not end every worker there is', async () => {
    let ended = 0;
    const mortal = () => {
      const worker = makeWorker();
      const at = 10 + ended++;
      worker.script = recite(WORDS, { at, act: () => worker.crash() });
      return worker;
    };
    hive.makeWorker = mortal;
    await hive.addWorker(mortal(), { model: MODEL });
    await begin();
    const [error] = terminals(await run());
    expect(error).toMatchObject({
      code: 'WORKER_CRASHED',
      details: { resume: 'RESUME_IMPOSSIBLE', resume_reason: 'the task has lost 4 workers' },
    });
    expect(ended).toBe(4);
  });

  it('leaves a worker that stands still, and holds its slot until that has let go', async () => {
    const first = await addWorker(recite(WORDS, { at: 5 }), 1);
    await begin({ timeouts: { stall: 100, cancel_ack: 500 } });
    const events = await run();
    expectWhole(events);
    expect(first.cancelled).toEqual(['j']);
    expect(said(events, 'task_resume')).toMatchObject([{ worker_id: first.id }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('does not let the client wait for a worker that stands still and does not let go', async () => {
    const first = await addWorker(recite(WORDS, { at: 5 }), 1);
    first.deaf = true;
    await begin({ timeouts: { stall: 100, cancel_ack: 60_000 } });
    expectWhole(await run());
  });

  it('ends with INFERENCE_TIMEOUT when it may not leave a worker that stands still', async () => {
    const first = await addWorker(recite(WORDS, { at: 5 }));
    await begin({ timeouts: { stall: 100 } });
    const [error] = terminals(await run({ resume: false }));
    expect(error).toMatchObject({ code: 'INFERENCE_TIMEOUT', details: { tokens_out: 5, limit_ms: 100 } });
    await first.watch.until(() => first.cancelled.join() === 'j');
  });

  it('goes on at the same worker when only the connection broke', async () => {
    const worker = makeWorker();
    worker.script = async (job) => {
      worker.script = recite(WORDS);
      await recite(WORDS, { at: 6, act: () => worker.dropConnections() })(job);
    };
    await hive.addWorker(worker, { model: MODEL });
    await begin();
    expectWhole(await run());
    expect(worker.asked).toEqual(['j', 'j']);
    expect(hive.spawned).toEqual([]);
  });

  it('leaves a worker that gives the job up because it shuts down', async () => {
    const worker = await addWorker(
      recite(WORDS, { at: 6, act: ({ stream }) => stream.fail(new RbeeError('CANCELLED', 'drained'), 'c') }),
    );
    await begin();
    expectWhole(await run());
    expect(worker.asked).toHaveLength(1);
    expect(hive.spawned).toHaveLength(1);
  });

  const frame = (event: string, data: unknown) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  it.each<[string, (job: ScriptedJob, worker: ScriptedWorker) => unknown]>([
    ['a token again', ({ stream }) => stream.sendFrame(frame('token', { type: 'token', t: 'x', i: 4, ids: [1] }))],
    ['a later token', ({ stream }) => stream.sendFrame(frame('token', { type: 'token', t: 'x', i: 6, ids: [1] }))],
    ['a token without an index', ({ stream }) => stream.sendFrame(frame('token', { type: 'token', t: 'x' }))],
    ['a token that is no JSON', ({ stream }) => stream.sendFrame('event: token\ndata: {"i":5,}\n\n')],
    ['[DONE] without an end', ({ stream }) => stream.sendFrame('data: [DONE]\n\n')],
    [
      'an end that cannot be read, and nothing more',
      ({ stream }) => {
        stream.sendFrame('event: end\ndata: {"type":"end"}\n\n', true);
        stream.finish();
      },
    ],
    [
      'half an event',
      ({ stream }, worker) => {
        stream.sendFrame('event: token\ndata: {"type":"token","t":"x","i":5');
        setImmediate(() => worker.dropConnections());
      },
    ],
  ])('leaves a worker that sends %s', async (_what, act) => {
    const worker = makeWorker();
    worker.script = (job) => {
      worker.script = recite(WORDS);
      return recite(WORDS, { at: 5, act: () => act(job, worker) })(job);
    };
    await hive.addWorker(worker, { model: MODEL });
    await begin();
    expectWhole(await run());
  });

  it.each<[string, string]>([
    ['a token', frame('token', { type: 'token', t: 'x', i: 0, ids: [1] })],
    ['an end', frame('end', { type: 'end', tokens_out: 0, decode_time_ms: 1, stop_reason: 'EOS' })],
  ])('leaves a worker that sends %s before it has started', async (_what, text) => {
    const worker = makeWorker();
    worker.beforeStart = ({ stream }) => void stream.sendFrame(text);
    await hive.addWorker(worker, { model: MODEL });
    await begin();
    expectWhole(await run());
    expect(hive.spawned).toHaveLength(1);
  });

  it('leaves a worker that sends more than was asked for', async () => {
    await addWorker();
    hive.makeWorker = () => makeWorker(recite(WORDS.slice(0, 8)));
    await begin();
    expectWhole(await run({ max_tokens: 8 }), WORDS.slice(0, 8));
  });

  it('passes nothing on behind the terminal event', async () => {
    await addWorker(async (job) => {
      job.stream.sendFrame(frame('end', { type: 'end', tokens_out: 0, decode_time_ms: 1, stop_reason: 'EOS' }));
      job.stream.sendFrame(frame('error', { code: 'X', message: 'x', status: 500, retryable: false }));
      await recite(WORDS)(job);
    });
    await begin();
    const events = await run();
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(tokens(events)).toEqual([]);
  });

  it('takes a job over that still runs for a queen that is gone', async () => {
    const worker = await addWorker(recite(WORDS, { at: 2 }));
    await begin();
    const headers = { Authorization: `Bearer ${worker.key}`, Accept: 'text/event-stream' };
    const body = JSON.stringify({ job_id: 'j', prompt: 'p', stream: true });
    const former = await fetch(`${worker.url}/v1/inference`, { method: 'POST', headers, body });
    worker.script = recite(WORDS);
    expectWhole(await run());
    expect(worker.cancelled).toEqual(['j']);
    expect(worker.asked).toEqual(['j', 'j', 'j']);
    expect(await former.text()).toContain('CANCELLED');
  });

  it('looks for another worker when the one that still has the job does not let go', async () => {
    const worker = await addWorker(recite(WORDS, { at: 2 }));
    worker.keepsJobs = true;
    await begin();
    const headers = { Authorization: `Bearer ${worker.key}`, Accept: 'text/event-stream' };
    const body = JSON.stringify({ job_id: 'j', prompt: 'p', stream: true });
    const abort = new AbortController();
    await fetch(`${worker.url}/v1/inference`, { method: 'POST', headers, body, signal: abort.signal });
    expectWhole(await run());
    expect(worker.cancelled).toEqual(['j', 'j']);
    expect(hive.spawned).toHaveLength(1);
    abort.abort();
  });

  const FATES = ['crash', 'drop', 'drain', 'stall', 'lie', 'half'] as const;
  it('gives the whole text exactly, whatever happens to its workers', async () => {
    await begin({ timeouts: { stall: 150, cancel_ack: 100 } });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ steps: fc.integer({ min: 8, max: 20 }), fate: fc.constantFrom(...FATES) }), {
          maxLength: 4,
        }),
        fc.uuid(),
        async (losses, job_id) => {
          let next = 0;
          let at = 0;
          const makeNext = () => {
            const worker = makeWorker();
            worker.script = async (job) => {
              const loss = losses[next++];
              if (!loss) return recite(WORDS)(job);
              at += loss.steps;
              return recite(WORDS, { at, act: () => befall(loss.fate, worker, job, at) })(job);
            };
            return worker;
          };
          hive.makeWorker = makeNext;
          expectWhole(await run({ job_id }));
          // The next run begins with workers of its own.
          for (const { worker } of [...hive.held.values()]) {
            await worker.crash();
            hive.remove(worker.id);
          }
          await queen.untilStates();
        },
      ),
      { numRuns: 15 },
    );
  });

  function befall(fate: (typeof FATES)[number], worker: ScriptedWorker, job: ScriptedJob, at: number): unknown {
    const { stream } = job;
    switch (fate) {
      case 'crash':
        return worker.crash();
      case 'drop':
        return worker.dropConnections();
      case 'drain':
        return stream.fail(new RbeeError('CANCELLED', 'drained'), 'c');
      case 'stall':
        return undefined;
      case 'lie':
        return stream.send({ type: 'token', t: 'lie', i: at + 1, ids: [1] });
      case 'half':
        stream.sendFrame(`event: token\ndata: {"type":"token","t":"x","i":${at}`);
        return setImmediate(() => worker.crash());
    }
  }
});
