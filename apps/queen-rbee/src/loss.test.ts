import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { hang, type JobScript, ScriptedWorker, say } from './testing/scripted-worker.js';
import { type SentEvent, TestQueen } from './testing/test-queen.js';

describe('a task whose worker fails it', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let queen: TestQueen;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker(2));
    queen = await TestQueen.start({ hivePort: hive.port, timeouts: { busy_retry: 20, ready_poll: 20 } });
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  const terminals = (events: SentEvent[]) => events.filter(({ type }) => type === 'end' || type === 'error');
  const after =
    (tokens: string[], act: () => unknown): JobScript =>
    async ({ stream }) => {
      for (const [i, t] of tokens.entries()) stream.send({ type: 'token', t, i });
      setImmediate(act);
      await new Promise(() => undefined);
    };

  it('is brought to another worker when that one dies before its first token', async () => {
    worker.script = after([], () => worker.crash());
    const events = await (await queen.task({ job_id: 'j' })).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(events.filter(({ type }) => type === 'started')).toHaveLength(1);
    expect(events.filter(({ type }) => type === 'token').map(({ t }) => t)).toEqual(['Once', ' upon']);
    expect(hive.spawned).toHaveLength(1);
    const order = events.map(({ type }) => type);
    expect(order.lastIndexOf('worker')).toBeLessThan(order.indexOf('started'));
  });

  it('ends when the next worker dies before its first token as well', async () => {
    worker.script = after([], () => worker.crash());
    hive.makeWorker = () => {
      const next = new ScriptedWorker();
      next.script = after([], () => next.crash());
      return next;
    };
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'error', code: 'WORKER_CRASHED', retryable: true }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('ends with WORKER_CRASHED and the tokens so far when that one dies after its first token', async () => {
    worker.script = after(['a', 'b', 'c'], () => worker.crash());
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([
      { code: 'WORKER_CRASHED', status: 500, retryable: true, details: { tokens_out: 3, worker_id: worker.id } },
    ]);
    expect(terminals(events)[0]?.message).toMatch(/^the worker ended.*after 3 tokens$/);
    expect(events.find(({ error_kind }) => error_kind)).toMatchObject({
      error_kind: 'worker_crash',
      worker_id: worker.id,
    });
    expect(events.at(-1)).toEqual({ type: '[DONE]' });
    expect(hive.spawned).toEqual([]);
    const next = await (await queen.task()).all;
    expect(terminals(next)).toMatchObject([{ type: 'end' }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('ends with WORKER_CONNECTION_LOST when the connection breaks and the worker lives', async () => {
    worker.script = after(['a'], () => worker.dropConnections());
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([
      { code: 'WORKER_CONNECTION_LOST', status: 503, retryable: true, details: { tokens_out: 1 } },
    ]);
  });

  it('asks the same worker again when the connection breaks before the first token and the worker lives', async () => {
    worker.script = async (job) => {
      worker.script = say(['b']);
      await after([], () => worker.dropConnections())(job);
    };
    const events = await (await queen.task({ job_id: 'j' })).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(worker.asked).toEqual(['j', 'j']);
    expect(hive.spawned).toEqual([]);
  });

  it('ends with WORKER_CONNECTION_LOST when the stream stops short without a terminal event', async () => {
    worker.script = async ({ stream }) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      stream.finish();
      await new Promise(() => undefined);
    };
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ code: 'WORKER_CONNECTION_LOST', details: { tokens_out: 1 } }]);
  });

  it('gets a fresh worker when that one is shutting down', async () => {
    worker.state = 'draining';
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(worker.asked).toHaveLength(1);
    expect(hive.spawned).toHaveLength(1);
    expect(events.filter(({ type }) => type === 'worker').map(({ reused }) => reused)).toEqual([true, false]);
  });

  it('gets a fresh worker when that one gives the job up before its first token', async () => {
    worker.script = async ({ stream }) => stream.fail(new RbeeError('CANCELLED', 'drained'), 'c');
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('is not sent to a worker that its hive says is shutting down', async () => {
    await (await queen.task()).all;
    hive.setState(worker.id, 'draining');
    await queen.untilStates('draining');
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(hive.spawned).toHaveLength(1);
  });

  it('waits until a worker that is still loading is ready', async () => {
    worker.state = 'loading';
    const answer = await queen.task();
    await worker.watch.until(() => worker.asked.length === 1);
    worker.state = 'idle';
    const events = await answer.all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(worker.asked).toHaveLength(2);
  });

  it('is offered again after growing waits, and then given up, while others hold all slots', async () => {
    worker.busyAnswers = 99;
    const before = performance.now();
    const answer = await queen.task();
    const events = await answer.all;
    expect(performance.now() - before).toBeGreaterThanOrEqual(20 + 40 + 80);
    expect(worker.asked).toHaveLength(4);
    const retries = events.filter(({ action }) => action === 'retry');
    expect(retries.map(({ human }) => human)).toEqual([
      'the worker is busy (2 of 2 slots): retry 1 of 3 in 20 ms',
      'the worker is busy (2 of 2 slots): retry 2 of 3 in 40 ms',
      'the worker is busy (2 of 2 slots): retry 3 of 3 in 80 ms',
    ]);
    expect(terminals(events)).toMatchObject([
      { code: 'ALL_SLOTS_BUSY', status: 503, retryable: true, details: { slots_total: 2, slots_busy: 2 } },
    ]);
    expect(JSON.stringify(terminals(events)[0]?.details)).toMatch(/wait .*another node .*another worker/);
  });

  it('is taken after a retry when a slot became free', async () => {
    worker.busyAnswers = 1;
    const events = await (await queen.task()).all;
    expect(terminals(events)).toMatchObject([{ type: 'end' }]);
    expect(events.filter(({ action }) => action === 'retry')).toHaveLength(1);
  });

  it('gets a fresh worker when the one it waits for goes', async () => {
    worker.script = hang(['a']);
    const running = [await queen.task(), await queen.task()];
    for (const each of running) await each.until('token');
    const waiting = await queen.task();
    await waiting.until('queued');
    await worker.crash();
    hive.remove(worker.id);
    expect(terminals(await waiting.all)).toMatchObject([{ type: 'end' }]);
    for (const each of running) expect(terminals(await each.all)).toMatchObject([{ code: 'WORKER_CRASHED' }]);
  });

  it('goes on undisturbed when only the hive dies', async () => {
    let go = () => {};
    worker.script = async (job) => {
      job.stream.send({ type: 'token', t: 'a', i: 0 });
      await new Promise<void>((resolve) => (go = resolve));
      await say(['a', 'b'], 1)(job);
    };
    const answer = await queen.task();
    await answer.until('token');
    await hive.crash();
    go();
    expect(terminals(await answer.all)).toMatchObject([{ type: 'end' }]);
  });
});

describe('a task that meets workers which its hive still lists and which are long gone', () => {
  it('passes them all by, however many they are', async () => {
    const hive = await new ScriptedHive().start();
    for (let count = 0; count < 3; count++) await (await hive.addWorker(new ScriptedWorker())).crash();
    const queen = await TestQueen.start({ hivePort: hive.port });
    try {
      const events = await (await queen.task()).all;
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      expect(hive.spawned).toHaveLength(1);
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});
