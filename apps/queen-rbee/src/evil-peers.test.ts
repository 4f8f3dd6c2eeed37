import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EVILS, type Evil, EvilPeer, sendEvents } from '@rbee/daemon-kit/testing';
import { ScriptedHive } from './testing/scripted-hive.js';
import { recite, ScriptedWorker } from './testing/scripted-worker.js';
import { type SentEvent, TestQueen } from './testing/test-queen.js';

const WORDS = ['Once', ' upon', ' a', ' time'];
const started = { type: 'started', job_id: 'j', model: 'm', started_at: new Date(0).toISOString(), prompt_ids: [1] };
const token = (i: number) => ({ type: 'token', t: WORDS[i], i, ids: [i + 1] });
const end = { type: 'end', tokens_out: WORDS.length, decode_time_ms: 1, stop_reason: 'EOS' };
const error = { type: 'error', code: 'INFERENCE_FAILED', message: 'no', details: {}, status: 500, retryable: false };
const whole = [started, ...WORDS.map((_, i) => token(i)), end];

/** Those done to a hive, one of each kind: there are many places to do them at. */
const HIVE_DEEDS = [
  'says nothing',
  'resets the connection',
  'hangs after the head of a stream',
  'hangs in the middle of an answer',
  'trickles its head',
  'trickles comments',
  'sends garbage',
  'sends half a frame and closes',
  'sends an event of more than 8 MB',
  'answers with a page',
  'answers with JSON of another shape',
];

/** All limits that a peer could make a task wait for. */
const SHORT = {
  call: 300,
  connect: 300,
  hive_connect: 300,
  hive_silence: 300,
  local_hive_healthy: 600,
  hive_healthy: 600,
  spawn_answer: 300,
  worker_startup: 500,
  model_load: 500,
  first_byte: 500,
  stall: 500,
  ready_poll: 20,
  busy_retry: 20,
  slot_wait: 1_000,
  cancel_ack: 300,
  download_stall: 100,
  download_retry: 5,
  keep_alive: 100,
};
/** The longest that a task may take with these limits, whatever is done to it. */
const BOUND_MS = 10_000;

const refuseKey: Evil = (socket) => {
  const body = JSON.stringify({ error: { code: 'INVALID_API_KEY', message: 'the key was rejected', details: {} } });
  socket.end(
    `HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
};

/** A good worker, reached by way of an evil peer. */
class BetrayedWorker extends ScriptedWorker {
  betrayedAt: string | undefined;

  override get url(): string {
    return this.betrayedAt ?? super.url;
  }
}

describe('evil peers of the queen', () => {
  let hive: ScriptedHive;
  let worker: BetrayedWorker;
  let evil: EvilPeer;
  let queen: TestQueen;

  afterEach(async () => {
    await queen.stop();
    await evil.stop();
    await hive.stop();
  });

  /** Runs a task and checks what holds for all of them, however they end. */
  async function run(about: object = {}): Promise<SentEvent[]> {
    const began = performance.now();
    const { all } = await queen.task({ temperature: 0, ...about });
    const events = await all;
    expect(performance.now() - began).toBeLessThan(BOUND_MS);
    const terminals = events.filter(({ type }) => type === 'end' || type === 'error');
    expect(terminals).toHaveLength(1);
    expect(events.at(-1)).toEqual({ type: '[DONE]' });
    expect(events.at(-2)).toBe(terminals[0]);
    const tokens = events.filter(({ type }) => type === 'token');
    expect(tokens.map(({ i }) => i)).toEqual(tokens.map((_, i) => i));
    const text = tokens.map(({ t }) => t).join('');
    if (terminals[0]?.type === 'end') expect(text).toBe(WORDS.join(''));
    else {
      expect(WORDS.join('').startsWith(text)).toBe(true);
      expect(terminals[0]).toMatchObject({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.any(String) });
      expect(terminals[0]?.code).not.toBe('INTERNAL_ERROR');
    }
    return events;
  }

  async function recovers(): Promise<void> {
    evil.rules = [];
    const deadline = performance.now() + BOUND_MS;
    for (;;) {
      const events = await run();
      if (events.at(-2)?.type === 'end') break;
      expect(performance.now()).toBeLessThan(deadline);
    }
    while (evil.suffering > 0) {
      expect(performance.now()).toBeLessThan(deadline);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  describe('a worker that takes a job and', () => {
    beforeEach(async () => {
      hive = await new ScriptedHive().start();
      hive.makeWorker = () => prepared(new ScriptedWorker(2));
      worker = prepared(new BetrayedWorker(2));
      await hive.addWorker(worker);
      evil = await EvilPeer.start({ behind: Number(new URL(worker.url).port) });
      worker.betrayedAt = evil.url;
      hive.announce(worker.id, 'changed');
      queen = await TestQueen.start({ hivePort: hive.port, timeouts: SHORT });
    });

    it.each(Object.entries(EVILS))('%s', async (_name, deed) => {
      evil.rules = [{ match: /^POST \/v1\/inference/, evil: deed }];
      await run();
      expect(evil.met).toBeGreaterThan(0);
      await recovers();
    });

    it.each(Object.entries(EVILS))('%s, of a task that may not go elsewhere', async (_name, deed) => {
      evil.rules = [{ match: /^POST \/v1\/inference/, evil: deed }];
      await run({ resume: false });
      expect(evil.met).toBeGreaterThan(0);
      await recovers();
    });

    const lies: Record<string, Evil> = {
      'sends two ends': sendEvents([...whole, end], 'done'),
      'sends an end and an error': sendEvents([...whole, error], 'done'),
      'sends an error and an end': sendEvents([started, token(0), error, end], 'done'),
      'goes on after the end': sendEvents([...whole, token(4)], 'done'),
      'ends before the start': sendEvents([end], 'done'),
      'sends tokens before the start': sendEvents([token(0), started, token(1), end], 'done'),
      'sends a token twice': sendEvents([started, token(0), token(0), token(1), end], 'done'),
      'leaves a token out': sendEvents([started, token(0), token(2), end], 'done'),
      'sends a token that cannot be read': sendEvents([started, { type: 'token', t: 7, i: 'x' }, end], 'done'),
      'never ends': sendEvents(whole.slice(0, 3), 'hang'),
      'sends the same start twice': sendEvents([started, ...whole], 'done'),
      'ends with figures that are none': sendEvents([started, token(0), { type: 'end', tokens_out: 'many' }], 'done'),
    };
    it.each(Object.entries(lies))('%s', async (_name, deed) => {
      evil.rules = [{ match: /^POST \/v1\/inference/, evil: deed }];
      await run();
      expect(evil.met).toBeGreaterThan(0);
      await recovers();
    });

    it('is another one by now, which does not know the key', async () => {
      await run();
      evil.rules = [{ match: /^POST \/v1\/inference/, evil: refuseKey }];
      // The hive has not told the queen yet that the worker has gone.
      hive.held.delete(worker.id);
      const events = await run();
      expect(evil.met).toBe(1);
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      expect(hive.spawned).toHaveLength(1);
    });

    it('refuses its own key', async () => {
      evil.rules = [{ match: /^POST \/v1\/inference/, evil: refuseKey }];
      const events = await run();
      expect(events.at(-2)).toMatchObject({ type: 'error', code: 'INVALID_API_KEY' });
    });

    it.each(whole.map((_, count) => count))('closes after %i events', async (count) => {
      for (const resume of [true, false]) {
        evil.rules = [{ match: /^POST \/v1\/inference/, evil: sendEvents(whole.slice(0, count), 'close') }];
        await run({ resume });
        await recovers();
      }
    });
  });

  describe('a hive', () => {
    beforeEach(async () => {
      hive = await new ScriptedHive().start();
      hive.makeWorker = () => prepared(new ScriptedWorker(2));
      evil = await EvilPeer.start({ behind: hive.port });
      queen = await TestQueen.start({ hivePort: evil.port, timeouts: SHORT });
    });

    const places = {
      'when it is asked how it is': /^GET \/v1\/health/,
      'when its events are asked for': /^GET \/v1\/events/,
      'when a worker is asked for': /^POST \/v1\/workers\/spawn/,
      'when the start of a worker is followed': /^GET \/v1\/workers\/[^/]+\/events/,
      'when a worker is looked at': /^GET \/v1\/workers\/(?!list)[^/]+$/,
      'when a model is asked for': /^POST \/v1\/models\/download/,
      'when a download is followed': /^GET \/v1\/models\/download\/progress/,
    };
    const cases = Object.entries(places).flatMap(([place, match]) =>
      HIVE_DEEDS.map((name) => ({ title: `${name} ${place}`, match, deed: EVILS[name] as Evil })),
    );
    it.each(cases)('$title', async ({ match, deed }) => {
      evil.rules = [{ match, evil: deed }];
      await run(/models/.test(String(match)) ? { model: 'hf:acme/honey:Q4_K_M' } : {});
      expect(evil.met).toBeGreaterThan(0);
      const health = await queen.json('GET', '/health');
      expect(health.status).toBe(200);
      await recovers();
    });
  });
});

function prepared<W extends ScriptedWorker>(worker: W): W {
  worker.script = recite(WORDS);
  worker.promptIds = [1, 2, 3];
  return worker;
}
