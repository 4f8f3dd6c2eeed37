import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Timeouts } from '@rbee/daemon-kit';
import { ScriptedHive } from './testing/scripted-hive.js';
import { hang, ScriptedWorker, say } from './testing/scripted-worker.js';
import { type Answer, type SentEvent, TestQueen } from './testing/test-queen.js';

describe('a task that is ended early', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let queen: TestQueen;

  const begin = async (timeouts: Partial<Timeouts> = {}, slots = 1) => {
    hive = await new ScriptedHive().start();
    worker = new ScriptedWorker(slots);
    queen = await TestQueen.start({ hivePort: hive.port, timeouts: { cancel_ack: 200, ...timeouts } });
  };
  const withWorker = async (timeouts: Partial<Timeouts> = {}, slots = 1) => {
    await begin(timeouts, slots);
    await hive.addWorker(worker);
  };
  const cancel = (id: string) => queen.call('DELETE', `/v2/tasks/${id}`);
  const terminals = (events: SentEvent[]) => events.filter(({ type }) => type === 'end' || type === 'error');
  /** The slot is free again when the next task gets through. */
  const expectFreeSlot = async () => {
    worker.script = say(['free']);
    const events = await (await queen.task()).all;
    expect(events.filter(({ type }) => type === 'queued')).toEqual([]);
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
  };
  const expectCancelled = async (answer: Answer) => {
    const events = await answer.all;
    expect(terminals(events)).toMatchObject([{ type: 'error', code: 'CANCELLED', status: 499 }]);
    expect(events.at(-1)).toEqual({ type: '[DONE]' });
    return events;
  };

  beforeEach(() => {
    worker = new ScriptedWorker(1);
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('answers 204 for a task that nobody knows', async () => {
    await begin();
    expect((await cancel('nobody')).status).toBe(204);
  });

  it('stops in the middle of its tokens, and frees the slot before the request to cancel it is answered', async () => {
    await withWorker();
    worker.script = hang(['a', 'b']);
    const answer = await queen.task({ job_id: 'j' });
    await answer.until('token');
    expect((await cancel('j')).status).toBe(204);
    expect(worker.cancelled).toEqual(['j']);
    expect(worker.jobs.size).toBe(0);
    const events = await expectCancelled(answer);
    expect(events.at(-3)?.type).toBe('token');
    await expectFreeSlot();
  });

  it('stops while the worker has accepted it and sent no token', async () => {
    await withWorker();
    worker.script = hang([]);
    const answer = await queen.task({ job_id: 'j' });
    await answer.until('started');
    await cancel('j');
    await expectCancelled(answer);
    await expectFreeSlot();
  });

  it('stops while it waits in the queue, and lets the others move up', async () => {
    await withWorker();
    worker.script = hang(['a']);
    const first = await queen.task({ job_id: 'first' });
    await first.until('token');
    const second = await queen.task({ job_id: 'second' });
    expect(await second.until('queued')).toMatchObject({ position: 1 });
    const third = await queen.task({ job_id: 'third' });
    expect(await third.until('queued')).toMatchObject({ position: 2 });
    await cancel('second');
    await expectCancelled(second);
    expect(worker.asked).toEqual(['first']);
    worker.script = say(['b']);
    await cancel('first');
    await expectCancelled(first);
    const events = await third.all;
    expect(events.filter(({ type }) => type === 'queued').map(({ position }) => position)).toEqual([2, 1]);
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
  });

  it('stops while its worker is loading; the worker stays for the next task', async () => {
    await begin();
    let loaded = () => {};
    hive.load = () => new Promise((resolve) => (loaded = resolve));
    const answer = await queen.task({ job_id: 'j' });
    await hive.watch.until(() => hive.calls.includes('workerEvents'));
    await cancel('j');
    await expectCancelled(answer);
    const next = await queen.task();
    loaded();
    expect(terminals(await next.all)).toMatchObject([{ type: 'end' }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('stops while the hive starts its worker', async () => {
    await begin();
    const started = new ScriptedWorker();
    let go = () => {};
    const start = started.start.bind(started);
    started.start = async () => {
      await new Promise<void>((resolve) => (go = resolve));
      return start();
    };
    hive.makeWorker = () => started;
    const answer = await queen.task({ job_id: 'j' });
    await hive.watch.until(() => hive.spawned.length === 1);
    await cancel('j');
    await expectCancelled(answer);
    go();
  });

  it('stops while it waits to ask a busy worker again', async () => {
    await withWorker();
    worker.busyAnswers = 9;
    const answer = await queen.task({ job_id: 'j' });
    await worker.watch.until(() => worker.asked.length === 1);
    await cancel('j');
    await expectCancelled(answer);
    worker.busyAnswers = 0;
    await expectFreeSlot();
  });

  it('does not wait for ever for a worker that does not confirm', async () => {
    await withWorker();
    worker.script = hang(['a']);
    worker.deaf = true;
    const answer = await queen.task({ job_id: 'j' });
    await answer.until('token');
    const before = performance.now();
    await cancel('j');
    expect(performance.now() - before).toBeGreaterThanOrEqual(150);
    expect(performance.now() - before).toBeLessThan(2_000);
    await expectCancelled(answer);
  });

  it('is told to the client at once; the slot is free when the worker has confirmed', async () => {
    await withWorker({ cancel_ack: 60_000 });
    worker.script = hang(['a']);
    worker.deaf = true;
    const answer = await queen.task({ job_id: 'j' });
    await answer.until('token');
    const cancelled = cancel('j');
    await expectCancelled(answer);
    const next = await queen.task({ job_id: 'next' });
    await next.until('queued');
    expect(worker.asked).toEqual(['j']);
    await worker.crash();
    await cancelled;
    await cancel('next');
    await expectCancelled(next);
  });

  it.each(['cancelled', 'stalled'])('leaves its id to nobody while it was %s and not confirmed', async (how) => {
    await withWorker({ cancel_ack: 60_000, ...(how === 'stalled' ? { stall: 100 } : {}) });
    worker.script = hang(['a']);
    worker.deaf = true;
    const first = await queen.task({ job_id: 'j' });
    await first.until('token');
    const cancelled = how === 'cancelled' ? cancel('j') : undefined;
    const events = await first.all;
    const again = await (await queen.task({ job_id: 'j' })).all;
    expect(terminals(again)).toEqual(terminals(events));
    expect(worker.asked).toEqual(['j']);
    await worker.crash();
    await cancelled;
  });

  it('frees the slot within 100 ms when the client drops the connection', async () => {
    await withWorker();
    worker.script = hang(['a']);
    const abort = new AbortController();
    const answer = await queen.task({ job_id: 'j' }, { signal: abort.signal });
    await answer.until('token');
    const before = performance.now();
    abort.abort();
    await worker.watch.until(() => worker.jobs.size === 0);
    expect(performance.now() - before).toBeLessThan(100);
    await worker.watch.until(() => worker.cancelled.includes('j'));
    await expectFreeSlot();
  });

  it('leaves the queue when the client drops the connection', async () => {
    await withWorker();
    worker.script = hang(['a']);
    const first = await queen.task({ job_id: 'first' });
    await first.until('token');
    const abort = new AbortController();
    const second = await queen.task({ job_id: 'second' }, { signal: abort.signal });
    await second.until('queued');
    const third = await queen.task({ job_id: 'third' });
    await third.until('queued');
    abort.abort();
    worker.script = say(['c']);
    await cancel('first');
    await third.all;
    expect(worker.asked).toEqual(['first', 'third']);
  });

  it('ends at its deadline with the deadline named', async () => {
    await withWorker();
    worker.script = hang(['a']);
    const answer = await queen.task({ timeout_seconds: 0.2 });
    const events = await answer.all;
    expect(terminals(events)).toMatchObject([{ type: 'error', code: 'REQUEST_TIMEOUT', status: 408 }]);
    const [{ details: { deadline } = {} } = {}] = terminals(events) as { details?: { deadline?: string } }[];
    expect(Math.abs(Date.parse(String(deadline)) - Date.now())).toBeLessThan(1_000);
    await worker.watch.until(() => worker.cancelled.length === 1);
    await expectFreeSlot();
  });

  it('keeps to an earlier deadline of the header, and ignores a later one', async () => {
    await withWorker();
    worker.script = hang(['a']);
    const at = (ms: number) => ({ headers: { 'X-Request-Deadline': new Date(Date.now() + ms).toISOString() } });
    const earlier = await (await queen.task({ timeout_seconds: 60 }, at(200))).all;
    expect(terminals(earlier)).toMatchObject([{ code: 'REQUEST_TIMEOUT' }]);
    const later = await (await queen.task({ timeout_seconds: 0.2 }, at(60_000))).all;
    expect(terminals(later)).toMatchObject([{ code: 'REQUEST_TIMEOUT' }]);
  });

  it('ends after the default time for an inference, counted from its acceptance', async () => {
    await withWorker({ inference: 150 });
    worker.script = hang(['a']);
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'error', code: 'REQUEST_TIMEOUT' }]);
  });

  it('is ended when no token comes any more', async () => {
    await withWorker({ stall: 100 });
    worker.script = hang(['a', 'b']);
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([
      { type: 'error', code: 'INFERENCE_TIMEOUT', status: 408, details: { tokens_out: 2, limit_ms: 100 } },
    ]);
    await worker.watch.until(() => worker.cancelled.length === 1);
    await expectFreeSlot();
  });

  it('has longer for its first token than for the next ones', async () => {
    await withWorker({ first_byte: 150, stall: 50 });
    worker.script = hang([]);
    const events = await (await queen.task({ resume: false })).all;
    expect(terminals(events)).toMatchObject([{ code: 'INFERENCE_TIMEOUT', details: { tokens_out: 0, limit_ms: 150 } }]);
  });

  it('is cancelled when the queen shuts down, and new tasks are refused', async () => {
    await withWorker({}, 2);
    worker.script = hang(['a']);
    worker.deaf = true;
    const answer = await queen.task({ job_id: 'j' });
    await answer.until('token');
    const stopped = queen.beginStop();
    const { status, body } = await queen.json('POST', '/v2/tasks', { prompt: 'p' });
    expect([status, body.error.retryable]).toEqual([503, true]);
    await expectCancelled(answer);
    await stopped;
    expect(await queen.ended).toBe(0);
  });
});
