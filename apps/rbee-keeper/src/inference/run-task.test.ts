import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, httpTransport, systemClock, type Target } from '@rbee/daemon-kit/client';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError, type TaskEvent, type TaskRequestInput } from '@rbee/protocol';
import fc from 'fast-check';
import { QueenClient } from '../queen/queen-client.js';
import { answerOf, endEvent, hangAfterTwoTokens, ScriptedQueen, serveKept } from '../testing/scripted-queen.js';
import type { Cut } from '../testing/scripted-tasks.js';
import { type RunTaskOptions, runTask, type TaskQueen } from './run-task.js';

const LIMITS: RunTaskOptions['settings'] = {
  cancel_ack: 1000,
  first_byte: 300_000,
  model_load: 300_000,
  queen_healthy: 30_000,
  queen_probe: 500,
  slot_wait: 300_000,
  stall: 60_000,
};

let queen: ScriptedQueen;
let target: Target;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  target.transport.close();
  await queen.stop();
});

const never = new AbortController().signal;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** The way to the scripted queen, without processes and leases. */
function connect(clock: Clock, url: string): TaskQueen {
  target = { transport: httpTransport({ name: 'queen-rbee', url }), clock };
  const client = new QueenClient({ target, timeoutMs: 1000, signal: never });
  const answers = async () =>
    fetch(`${url}/health`, { signal: AbortSignal.timeout(queen.deaf ? 1 : 1000) }).then(
      ({ ok }) => ok,
      () => false,
    );
  return {
    client,
    revive: answers,
    look: async () => ((await answers()) ? 'same' : 'none'),
    settled: async () => undefined,
  };
}

interface Start {
  clock?: Clock;
  url?: string;
  body?: TaskRequestInput;
  signal?: AbortSignal;
  limits?: Partial<RunTaskOptions['settings']>;
  queenParts?: Partial<TaskQueen>;
}

function start({ clock = systemClock, url = queen.url, body, signal = never, limits, queenParts }: Start = {}) {
  const events: TaskEvent[] = [];
  const seen = { absences: 0 };
  const task = runTask(
    { ...connect(clock, url), ...queenParts },
    { jobId: 'job-1', body: { prompt: 'hi', job_id: 'job-1', ...body } },
    {
      clock,
      variables: { RBEE_NO_JITTER: '1' },
      correlationId: 'c',
      signal,
      settings: { ...LIMITS, ...limits },
      onEvent: (event) => void events.push(event),
      onAbsence: () => void seen.absences++,
    },
  );
  const types = () => events.map(({ type }) => type);
  const text = () => events.map((event) => (event.type === 'token' ? event.t : '')).join('');
  return { task, events, types, text, seen };
}

/** Moves a manual clock, in steps between which real answers can come, until something has happened. */
async function advanceUntil(clock: ManualClock, done: () => boolean, mostMs = 3_600_000): Promise<number> {
  const begin = clock.monotonic();
  while (!done() && clock.monotonic() - begin < mostMs) {
    await clock.advance(500);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return clock.monotonic() - begin;
}

function settling(task: Promise<unknown>): () => boolean {
  let settled = false;
  task.then(
    () => (settled = true),
    () => (settled = true),
  );
  return () => settled;
}

const toClientGone = () =>
  new RbeeError('CANCELLED', 'the client closed the connection', { details: { reason: 'client_gone' } });

const TEXTS = ['Once', ' upon', ' a', ' time', ',', ' there', ' was', '\n', 'ünï', '.'];

describe('the stream of a task', () => {
  it('survives what it does not know, and a stream that breaks behind its end', async () => {
    const run = start({ clock: new ManualClock() });
    queen.script = async (_task, stream) => {
      stream.sendFrame('event: novelty\ndata: {"type":"novelty"}\n\n');
      stream.sendFrame('data: not even JSON\n\n');
      stream.sendFrame(': a comment\n\n');
      stream.sendFrame('event: token\r\ndata: {"type":"token",\r\ndata: "t":"a","i":0}\r\n\r\n');
      stream.send(endEvent(1));
      await until(() => run.types().includes('end'));
      queen.cut();
    };
    expect(await run.task).toMatchObject({ tokens_out: 1 });
    expect(run.types()).toEqual(['token', 'end']);
  });

  it('is put together exactly, wherever and however often it is cut', async () => {
    const cut = fc.record({ after: fc.nat(14), half: fc.boolean(), restart: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { maxLength: 5 }), async (cuts) => {
        queen.kept.keep(answerOf(TEXTS), cuts);
        queen.script = serveKept(queen);
        const run = start();
        expect(await run.task).toMatchObject({ tokens_out: TEXTS.length });
        expect(run.text()).toBe(TEXTS.join(''));
        target.transport.close();
      }),
      { numRuns: 60 },
    );
  });

  it('asks for what is behind the last event that was handled, and shows nothing twice', async () => {
    const cuts: Cut[] = [{ after: 2 }, { after: 3 }];
    queen.kept.keep(answerOf(TEXTS), cuts);
    queen.script = serveKept(queen);
    const run = start();
    await run.task;
    expect(queen.kept.attached).toEqual(['1-2', '1-5']);
    expect(run.types().filter((type) => type !== 'token')).toEqual(['accepted', 'narration', 'started', 'end']);
    expect(queen.tasks).toHaveLength(1);
  });

  it('asks once more for tokens that were left out, then says so', async () => {
    const events = answerOf(TEXTS);
    queen.kept.keep(events.filter((event) => event.type !== 'token' || event.i !== 4));
    queen.script = serveKept(queen);
    const run = start();
    await expect(run.task).rejects.toMatchObject({ code: 'INVALID_RESPONSE', details: { next_token: 4 } });
    expect(queen.kept.attached).toEqual([undefined]);
    expect(run.text()).toBe(TEXTS.slice(0, 4).join(''));
  });
});

describe('a queen that is gone', () => {
  it('is waited for, while nothing of the task was heard, with the task sent again', async () => {
    const { url } = queen;
    await queen.fall();
    const run = start({ url });
    setTimeout(() => void queen.rise(), 150);
    expect(await run.task).toMatchObject({ tokens_out: 5 });
    expect(queen.tasks.map(({ job_id }) => job_id)).toEqual(['job-1']);
  });

  it('is waited for in the middle of an answer', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 7 }]);
    queen.script = async (task, stream, signal) => {
      setTimeout(() => void queen.fall().then(() => setTimeout(() => void queen.rise(), 100)), 1);
      await serveKept(queen)(task, stream, signal);
    };
    const run = start();
    await run.task;
    expect(run.text()).toBe(TEXTS.join(''));
    expect(run.seen.absences).toBe(0);
  });

  it('is given up after its time, told of after a second', async () => {
    const clock = new ManualClock();
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    const run = start({ clock, queenParts: { revive: async () => false } });
    const failed = expect(run.task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'queen-rbee does not answer any more',
      details: { waited_seconds: expect.any(Number) },
    });
    await until(() => run.events.length === 5);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await clock.advance(900);
    expect(run.seen.absences).toBe(0);
    const waited = await advanceUntil(clock, settling(run.task));
    await failed;
    expect(run.seen.absences).toBe(1);
    expect(waited).toBeGreaterThan(28_000);
    expect(waited).toBeLessThanOrEqual(30_500);
    expect(clock.pending).toBe(0);
  });

  it('has its own reason when it cannot be used', async () => {
    const refusal = new RbeeError('QUEEN_START_FAILED', 'queen-rbee could not be started');
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    const revive = async () => {
      throw refusal;
    };
    await expect(start({ queenParts: { revive } }).task).rejects.toBe(refusal);
  });

  it('has lost the task: it is sent again before its first token, and no later', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 2 }]);
    queen.script = async (_task, stream) => {
      const again = queen.tasks.length > 1;
      if (!again) setTimeout(() => queen.kept.forget(), 0);
      if (again) queen.kept.keep(answerOf(TEXTS));
      await queen.kept.send(stream);
    };
    const early = start();
    await early.task;
    expect(early.text()).toBe(TEXTS.join(''));
    expect(queen.tasks.map(({ job_id }) => job_id)).toEqual(['job-1', 'job-1']);
    target.transport.close();

    queen.kept.keep(answerOf(TEXTS), [{ after: 6 }]);
    queen.script = async (_task, stream) => {
      setTimeout(() => queen.kept.forget(), 0);
      await queen.kept.send(stream);
    };
    await expect(start().task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'queen-rbee was started anew and does not know the task any more',
    });
    expect(queen.tasks).toHaveLength(3);
  });

  it('is not looked for with RBEE_NO_RETRY', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    const options = {
      clock: systemClock,
      variables: { RBEE_NO_RETRY: '1' },
      correlationId: 'c',
      signal: never,
      settings: LIMITS,
      onEvent: () => undefined,
      onAbsence: () => undefined,
    };
    const task = { jobId: 'job-1', body: { prompt: 'hi' } };
    await expect(runTask(connect(systemClock, queen.url), task, options)).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'the stream from queen-rbee broke off',
    });
    expect(queen.kept.attached).toEqual([]);
  });

  it('lived on and cancelled the task with the connection: it is sent again before its first token', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 2 }]);
    queen.script = serveKept(queen);
    queen.kept.onAttach = async () => {
      throw toClientGone();
    };
    const run = start();
    await run.task;
    expect(run.text()).toBe(TEXTS.join(''));
    const [first, second] = queen.tasks.map(({ job_id }) => job_id);
    expect(first).toBe('job-1');
    expect(second).toMatch(/^job-[0-9a-f-]{36}$/);
  });

  it('is not sent a task again and again', async () => {
    queen.script = async () => {
      throw toClientGone();
    };
    await expect(start().task).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(queen.tasks).toHaveLength(4);
  });

  it('lived on and cancelled the task after its first token: that is said, with what helps', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    queen.kept.onAttach = async () => {
      throw toClientGone();
    };
    await expect(start().task).rejects.toMatchObject({
      code: 'CANCELLED',
      message: 'the connection to queen-rbee broke off, and the task was cancelled with it',
      suggestion: expect.stringContaining('--on-disconnect keep'),
    });
  });
});

describe('a queen that does not do what it should', () => {
  it('is given up when it has fallen silent and answers no question', async () => {
    queen.script = hangAfterTwoTokens;
    const clock = new ManualClock();
    const run = start({ clock });
    const failed = expect(run.task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'queen-rbee does not answer any more',
      details: { last_attempt: expect.stringContaining('silent') },
    });
    await until(() => run.events.length === 2);
    queen.deaf = true;
    const took = await advanceUntil(clock, settling(run.task));
    await failed;
    expect(took).toBeLessThan(180_000);
  });

  it('is stayed with while it is silent but well', async () => {
    let finish: () => void = () => undefined;
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      stream.send(endEvent(1));
    };
    const clock = new ManualClock();
    const run = start({ clock });
    await until(() => run.events.length === 1);
    await advanceUntil(clock, () => queen.probes >= 5);
    finish();
    expect(await run.task).toMatchObject({ tokens_out: 1 });
    expect(queen.kept.attached).toEqual([]);
  });

  it('is attached to anew when another one answers in its place', async () => {
    queen.kept.keep(answerOf(TEXTS));
    queen.script = async (_task, stream, signal) => {
      for (const [index, event] of answerOf(TEXTS).slice(0, 5).entries()) stream.send(event, `1-${index + 1}`);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    };
    const clock = new ManualClock();
    const run = start({ clock, queenParts: { look: async () => 'other' } });
    await until(() => run.events.length === 5);
    await advanceUntil(clock, settling(run.task), 60_000);
    await run.task;
    expect(run.text()).toBe(TEXTS.join(''));
  });

  it.each<[string, (stream: { sendFrame(frame: string): boolean }, n: number) => void]>([
    ['keep-alive comments', (stream) => stream.sendFrame(': keep-alive\n\n')],
    ['what nobody understands', (stream, n) => stream.sendFrame(`data: {"type":"noise","n":${n}}\n\n`)],
    ['bytes of an event that never ends', (stream) => stream.sendFrame('data: a\n')],
    [
      'the same event again and again',
      (stream) => stream.sendFrame('event: token\ndata: {"type":"token","t":"a","i":0}\n\n'),
    ],
  ])('is given up, and the task cancelled, when it trickles: %s', async (_name, trickle) => {
    let ended = false;
    queen.script = async (_task, stream, signal) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      for (let n = 0; !signal.aborted; n++) {
        trickle(stream, n);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      ended = true;
      throw signal.reason;
    };
    const clock = new ManualClock();
    const run = start({ clock });
    const failed = expect(run.task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: expect.stringMatching(/^queen-rbee has told nothing new of the task for 3[67]\d s$/),
    });
    await until(() => run.events.length === 1);
    const took = await advanceUntil(clock, settling(run.task));
    await failed;
    expect(took).toBeLessThan(390_000);
    expect(queen.canceled).toEqual(['job-1']);
    await until(() => ended);
  });

  it('is given up when it closes every connection early', async () => {
    const clock = new ManualClock();
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'a', i: 0 }, '1-1');
      setTimeout(() => queen.cut(), 0);
      await new Promise(() => undefined);
    };
    queen.kept.onAttach = async (stream) => {
      stream.open();
      setTimeout(() => queen.cut(), 0);
      await new Promise(() => undefined);
    };
    const run = start({ clock });
    const failed = expect(run.task).rejects.toMatchObject({ code: 'WORKER_CONNECTION_LOST' });
    const took = await advanceUntil(clock, settling(run.task), 200_000);
    await failed;
    expect(took).toBeLessThan(100_000);
    expect(queen.kept.attached.length).toBeGreaterThan(10);
  });

  it('is given up when it ends again and again before the first token, and each time knows the task', async () => {
    queen.script = async (_task, stream) => {
      stream.send(answerOf([])[0] as TaskEvent, '1-1');
      setTimeout(() => queen.cut(), 0);
      await new Promise(() => undefined);
    };
    let run = 1;
    queen.kept.onAttach = async (stream) => {
      run++;
      stream.send(answerOf([])[1] as TaskEvent, `${run}-1`);
      setTimeout(() => queen.cut(), 0);
      await new Promise(() => undefined);
    };
    await expect(start().task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'queen-rbee was lost 17 times without a token',
    });
  });

  it('is given up when it ends again and again before the first token, and forgets the task', async () => {
    queen.script = async (_task, stream) => {
      stream.send(answerOf([])[0] as TaskEvent, '1-1');
      setTimeout(() => queen.cut(), 0);
      await new Promise(() => undefined);
    };
    await expect(start().task).rejects.toMatchObject({ code: 'WORKER_CONNECTION_LOST' });
    expect(queen.tasks.length).toBeLessThanOrEqual(17);
  });

  it('is given up when it takes a task and answers nothing at all', async () => {
    const mute = createServer(() => undefined);
    await once(mute.listen(0, '127.0.0.1'), 'listening');
    const clock = new ManualClock();
    const url = `http://127.0.0.1:${(mute.address() as AddressInfo).port}`;
    const run = start({ clock, url, queenParts: { revive: async () => false } });
    const failed = expect(run.task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      details: { last_attempt: 'queen-rbee did not answer within 30000 ms' },
    });
    const took = await advanceUntil(clock, settling(run.task));
    await failed;
    expect(took).toBeLessThan(62_000);
    target.transport.close();
    mute.closeAllConnections();
    await new Promise((resolve) => mute.close(resolve));
  });

  it('does not keep the user beyond the deadline of the task', async () => {
    queen.script = hangAfterTwoTokens;
    const clock = new ManualClock();
    const run = start({ clock, body: { timeout_seconds: 60 } });
    const failed = expect(run.task).rejects.toMatchObject({
      code: 'REQUEST_TIMEOUT',
      details: { timeout_seconds: 60 },
    });
    await until(() => run.events.length === 2);
    const took = await advanceUntil(clock, settling(run.task));
    await failed;
    expect(took).toBeLessThan(67_000);
    expect(queen.canceled).toEqual(['job-1']);
  });
});

describe('giving up', () => {
  it('while the queen is away is over at once, with one attempt to cancel', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    const user = new AbortController();
    let away = 0;
    const revive = async () => {
      away++;
      return false;
    };
    const run = start({ signal: user.signal, queenParts: { revive } });
    const failed = expect(run.task).rejects.toThrow('enough');
    await until(() => away > 1);
    user.abort(new Error('enough'));
    await failed;
    expect(queen.canceled).toEqual(['job-1']);
  });

  it.each([
    ['SIGHUP', 'keep', []],
    ['SIGINT', 'keep', ['job-1']],
    ['SIGHUP', 'cancel', ['job-1']],
  ] as const)('by %s with --on-disconnect %s', async (signal, on_disconnect, canceled) => {
    queen.script = hangAfterTwoTokens;
    const user = new AbortController();
    const run = start({ signal: user.signal, body: { on_disconnect } });
    const failed = expect(run.task).rejects.toMatchObject({ code: 'CANCELLED' });
    await until(() => run.events.length === 2);
    user.abort(new RbeeError('CANCELLED', 'canceled by the user', { details: { signal } }));
    await failed;
    expect(queen.canceled).toEqual(canceled);
  });
});
