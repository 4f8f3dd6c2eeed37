import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from '../testing/scripted-hive.js';
import type { ScriptedJob } from '../testing/scripted-worker.js';
import { hang, recite, ScriptedWorker, say } from '../testing/scripted-worker.js';
import { type Answer, idOf, type SentEvent, TestQueen } from '../testing/test-queen.js';

const EVENT_STREAM = { Accept: 'text/event-stream' };

describe('a task that is read by other clients than its own', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let queen: TestQueen;

  const begin = async (timeouts: Partial<Timeouts> = {}) => {
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker(2));
    queen = await TestQueen.start({ hivePort: hive.port, timeouts });
  };
  const attach = (id: string, last?: string) =>
    queen.stream('GET', `/v2/tasks/${id}/events`, undefined, last ? { headers: { 'Last-Event-ID': last } } : {});
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('tells the same events with the same ids to everybody', async () => {
    await begin();
    const gate = openGate();
    worker.script = gate.script(['a', 'b'], ['c']);
    const first = await queen.task({ job_id: 'j' });
    await until(first, 'token', 2);
    const second = await attach('j');
    const third = await queen.task({ job_id: 'j' });
    gate.open();
    const one = await first.all;
    for (const other of [await second.all, await third.all]) {
      expect(other).toEqual(one);
      expect(ids(other)).toEqual(ids(one));
    }
    expect(textOf(one)).toBe('abc');
    expect(ids(one)).toEqual(ids(one).map((_id, index) => `1-${index + 1}`));
    expect(worker.asked).toEqual(['j']);
  });

  it('is read by 64 clients at most, and the next one hears why not', async () => {
    await begin();
    const gate = openGate();
    worker.script = gate.script(['a'], ['b']);
    const first = await queen.task({ job_id: 'j' });
    await until(first, 'token', 1);
    const abort = new AbortController();
    const leaving = await queen.stream('GET', '/v2/tasks/j/events', undefined, { signal: abort.signal });
    const others = await Promise.all(Array.from({ length: 62 }, () => attach('j')));
    const { status, body } = await queen.json('GET', '/v2/tasks/j/events');
    expect([status, body.error]).toMatchObject([429, { code: 'TOO_MANY_REQUESTS', details: { limit: 64 } }]);
    expect((await queen.task({ job_id: 'j' })).status).toBe(429);
    abort.abort();
    await expect(leaving.all).rejects.toThrow();
    await clientsOf(queen, 'j', 63);
    others.push(await attach('j'));
    gate.open();
    for (const each of [first, ...others]) expect(textOf(await each.all)).toBe('ab');
  });

  it('goes on behind the event that a client knows, and from the beginning for what is no id', async () => {
    await begin();
    worker.script = say(['a', 'b', 'c']);
    const all = await (await queen.task({ job_id: 'j' })).all;
    const told = all.filter(({ type }) => type !== 'narration' && type !== 'worker');
    const nameOf = (event: SentEvent) => idOf(event) || event.type;
    const after = async (id: string) => (await (await attach('j', id)).all).map(nameOf);
    const known = idOf(told.find(({ t }) => t === 'b'));
    const rest = told.slice(told.findIndex((event) => idOf(event) === known) + 1).map(nameOf);
    expect(await after(known)).toEqual(rest);
    expect(rest).toHaveLength(3);
    for (const nonsense of ['x', '1-', '-1-1', '9'.repeat(40), '1-1-1'])
      expect(await after(nonsense)).toEqual(told.map(nameOf));
    // Nobody gets a stream without its end.
    for (const late of [idOf(told.at(-2)), '7-1']) expect(await after(late)).toEqual(rest.slice(-2));
  });

  it('runs on for the one who is left, and is cancelled with the last', async () => {
    await begin();
    worker.script = hang(['a']);
    const [one, other] = [new AbortController(), new AbortController()];
    await (await queen.task({ job_id: 'j' }, { signal: one.signal })).until('token');
    const second = await queen.stream('GET', '/v2/tasks/j/events', undefined, { signal: other.signal });
    await second.until('token');
    one.abort();
    expect(await clientsOf(queen, 'j', 1)).toMatchObject({ state: 'generating', tokens_out: 1, text: 'a' });
    expect(worker.jobs.size).toBe(1);
    other.abort();
    await worker.watch.until(() => worker.cancelled.includes('j'));
    await queen.call('DELETE', '/v2/tasks/j');
    expect((await queen.json('GET', '/v2/tasks/j')).body).toMatchObject({
      state: 'cancelled',
      error: { code: 'CANCELLED', message: expect.stringContaining('the client closed the connection') },
    });
  });

  it('runs to its end without a client that asked for it', async () => {
    await begin();
    const gate = openGate();
    worker.script = gate.script(['a'], ['b']);
    const abort = new AbortController();
    const body = { job_id: 'j', on_disconnect: 'keep' };
    await (await queen.task(body, { signal: abort.signal })).until('token');
    abort.abort();
    await clientsOf(queen, 'j', 0);
    gate.open();
    expect(textOf(await (await queen.task(body)).all)).toBe('ab');
    expect(worker.asked).toEqual(['j']);
  });

  it('is listed and shown while it runs and when it has ended', async () => {
    await begin();
    const gate = openGate();
    worker.script = gate.script(['a'], ['b']);
    const answer = await queen.task({ job_id: 'j', priority: 'batch', timeout_seconds: 60 });
    await answer.until('token');
    const about = {
      job_id: 'j',
      model: 'builtin:honeycomb',
      node: 'localhost',
      worker_id: worker.id,
      priority: 'batch',
    };
    const running = { ...about, state: 'generating', tokens_out: 1, clients: 1, resumed: 0, recovered: false };
    expect((await queen.json('GET', '/v2/tasks')).body.tasks).toMatchObject([running]);
    expect((await queen.json('GET', '/v2/tasks/j')).body).toMatchObject({ ...running, text: 'a' });
    gate.open();
    await answer.all;
    worker.script = say(['c']);
    await (await queen.task({ job_id: 'k' })).all;
    const { tasks } = (await queen.json('GET', '/v2/tasks')).body;
    expect(tasks).toMatchObject([{ ...about, state: 'ended', tokens_out: 2, clients: 0 }, { job_id: 'k' }]);
    expect(Date.parse(tasks[0].deadline) - Date.parse(tasks[0].accepted_at)).toBeGreaterThan(59_000);
    expect(Date.parse(tasks[0].ended_at)).toBeGreaterThanOrEqual(Date.parse(tasks[0].accepted_at));
    expect((await queen.json('GET', '/v2/tasks/j')).body.text).toBe('ab');
    expect((await queen.json('GET', '/v2/tasks?state=ended')).body.tasks).toHaveLength(2);
    expect((await queen.json('GET', '/v2/tasks?state=failed')).body.tasks).toEqual([]);
    expect((await queen.json('GET', '/v2/tasks?state=lost')).status).toBe(400);
  });

  it('gives its answer as one body to everybody who asks so, also when it has ended', async () => {
    await begin();
    const gate = openGate();
    worker.script = gate.script(['a'], ['b']);
    const body = { prompt: 'p', job_id: 'j', stream: false };
    const asked = [queen.json('POST', '/v2/tasks', body), queen.json('POST', '/v2/tasks', body)];
    await clientsOf(queen, 'j', 2);
    gate.open();
    const answers = [...(await Promise.all(asked)), await queen.json('POST', '/v2/tasks', body)];
    for (const { status, headers, body } of answers) {
      expect([status, headers.get('x-request-id')]).toEqual([200, 'j']);
      expect(body).toMatchObject({ job_id: 'j', text: 'ab', tokens_out: 2, stop_reason: 'EOS' });
    }
    expect(worker.asked).toEqual(['j']);
  });

  it('tells the same failure to everybody, also when it has ended', async () => {
    await begin();
    worker.script = async () => {
      throw new RbeeError('INFERENCE_FAILED', 'no');
    };
    for (let time = 0; time < 2; time++) {
      // The status line of a stream goes out when a worker has accepted the job, that of a body with the body.
      const streamed = await queen.call('POST', '/v2/tasks', { body: { prompt: 'p', job_id: 'streamed' } });
      expect([streamed.status, await streamed.text()]).toEqual([200, expect.stringContaining('INFERENCE_FAILED')]);
      const body = { prompt: 'p', job_id: 'collected', stream: false };
      const collected = await queen.json('POST', '/v2/tasks', body);
      expect([collected.status, collected.body.error.code]).toEqual([500, 'INFERENCE_FAILED']);
    }
    const events = await (await attach('streamed')).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'INFERENCE_FAILED' });
    expect(worker.asked).toEqual(['streamed', 'collected']);
  });

  it.each(['/v2/tasks/nobody', '/v2/tasks/nobody/events'])('is not found when nobody knows it: %s', async (path) => {
    await begin();
    const { status, body } = await queen.json('GET', path);
    expect([status, body.error.code, body.error.details.job_id]).toEqual([404, 'NOT_FOUND', 'nobody']);
    expect(body.error.details.suggestion).toContain('rbee-keeper tasks list');
  });

  it('leaves no trace when it was not accepted', async () => {
    await begin();
    const refused = await queen.json('POST', '/v2/tasks', { prompt: 'p', node: 'nowhere', job_id: 'j' });
    expect([refused.status, refused.body.error.code]).toEqual([404, 'NODE_NOT_FOUND']);
    expect((await queen.json('GET', '/v2/tasks')).body.tasks).toEqual([]);
    worker.script = say(['a']);
    expect(textOf(await (await queen.task({ job_id: 'j' })).all)).toBe('a');
  });

  it('is forgotten after a while', async () => {
    await begin({ task_kept: 20 });
    worker.script = say(['a']);
    await (await queen.task({ job_id: 'j' })).all;
    for (let status = 200; status !== 404; ) ({ status } = await queen.json('GET', '/v2/tasks/j'));
    expect((await queen.json('GET', '/v2/tasks')).body.tasks).toEqual([]);
  });

  it('cuts off a client that takes nothing, and cancels the task that it leaves', async () => {
    await begin({ reader_stall: 200 });
    let sent = 0;
    worker.script = async ({ stream, signal }) => {
      for (; ; sent++) {
        const keptUp = stream.send({ type: 'token', t: 'x'.repeat(10_000), i: sent, ids: [1] });
        if (!keptUp) await stream.drained(signal);
      }
    };
    const client = request(`${queen.url}/v2/tasks`, { method: 'POST', headers: EVENT_STREAM });
    client.on('error', () => undefined);
    // A response that somebody has taken is read only when he asks for it.
    client.on('response', () => undefined);
    client.end(JSON.stringify({ prompt: 'p', job_id: 'j' }));
    await worker.watch.until(() => worker.cancelled.includes('j'));
    await queen.call('DELETE', '/v2/tasks/j');
    expect(worker.jobs.size).toBe(0);
    expect((await queen.json('GET', '/v2/tasks/j')).body.state).toBe('cancelled');
    client.destroy();
  });
});

describe('tasks of a queen that was killed', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let folder: string;
  const queens: TestQueen[] = [];

  const start = async (from?: TestQueen, timeouts: Partial<Timeouts> = {}) => {
    const database = from ? join(mkdtempSync(join(folder, 'state-')), 'beehives.db') : join(folder, 'beehives.db');
    // What is on the disk in this moment is all that a killed process leaves.
    if (from) copyJournal(from, database);
    const queen = await TestQueen.start({ hivePort: hive.port, settings: { database }, timeouts });
    databases.set(queen, database);
    queens.push(queen);
    return queen;
  };
  const databases = new Map<TestQueen, string>();
  const copyJournal = (queen: TestQueen, database: string) => {
    const source = join(databases.get(queen) ?? '', '..');
    for (const name of readdirSync(source).filter((each) => each.startsWith('tasks.db')))
      cpSync(join(source, name), join(database, '..', name));
  };
  const attach = (queen: TestQueen, id: string, last?: string) =>
    queen.stream('GET', `/v2/tasks/${id}/events`, undefined, last ? { headers: { 'Last-Event-ID': last } } : {});

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'killed-queen-'));
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker(1));
    worker.promptIds = [7, 8, 9];
  });
  afterEach(async () => {
    for (const queen of queens.splice(0)) await queen.stop();
    await hive.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('go on where they were, and everybody gets every event once', async () => {
    const first = await start();
    worker.script = recite(['a', 'b', 'c', '?'], { at: 3 });
    const running = await first.task({ job_id: 'running' });
    await until(running, 'token', 3);
    const queued = await first.task({ job_id: 'queued' });
    await queued.until('queued');
    const seen = running.events.filter(({ type }) => type === 'token').map(({ t }) => t);
    worker.script = recite(['a', 'b', 'c', 'd', 'e']);
    const second = await start(first);
    const [rest, other] = await Promise.all(
      [
        await attach(second, 'running', idOf(running.events.at(-1))),
        await attach(second, 'queued', idOf(queued.events.at(-1))),
      ].map(({ all }) => all),
    );
    expect([...seen, ...(rest ?? []).flatMap(({ t }) => t ?? [])].join('')).toBe('abcde');
    expect((rest ?? []).filter(({ type }) => type === 'started')).toEqual([]);
    expect(rest?.[0]).toMatchObject({
      type: 'narration',
      action: 'task_recovered',
      correlation_id: expect.any(String),
    });
    expect(textOf(other ?? [])).toBe('abcde');
    for (const events of [rest, other]) expect(events?.at(-2)?.type).toBe('end');
    // From the beginning, all of it is there.
    const whole = await (await attach(second, 'running')).all;
    expect(whole.map(({ type }) => type)).toEqual(['accepted', 'started', ...Array(5).fill('token'), 'end', '[DONE]']);
    expect(whole.filter(({ type }) => type === 'token').map(({ i }) => i)).toEqual([0, 1, 2, 3, 4]);
    expect(ids(whole).map((id) => id.split('-')[0])).toEqual(['1', '1', '1', '1', '1', '2', '2', '2']);
    expect((await second.json('GET', '/v2/tasks/running')).body).toMatchObject({ recovered: true, resumed: 1 });
  });

  it('are whole wherever the queen was killed', async () => {
    const words = ['a', 'b', 'c', 'd', 'e'];
    for (let at = 0; at <= words.length; at++) {
      const id = `killed-at-${at}`;
      const first = await start();
      worker.script = recite([...words, '?'], { at });
      const answer = await first.task({ job_id: id });
      await (at === 0 ? answer.until('started') : until(answer, 'token', at));
      worker.script = recite(words);
      const second = await start(first);
      const rest = await (await attach(second, id, idOf(answer.events.at(-1)))).all;
      expect(textOf(answer.events) + textOf(rest)).toBe('abcde');
      expect(rest.at(-2)).toMatchObject({ type: 'end', tokens_out: words.length });
      await second.stop();
      await first.stop();
      queens.length = 0;
    }
  });

  it('are the same for a client that sends its task again', async () => {
    const first = await start();
    worker.script = recite(['a', 'b', '?'], { at: 2 });
    await until(await first.task({ job_id: 'j' }), 'token', 2);
    worker.script = recite(['a', 'b', 'c']);
    const second = await start(first);
    expect(textOf(await (await second.task({ job_id: 'j' })).all)).toBe('abc');
  });

  it('keep the seed that they were given', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    await until(await first.task({ job_id: 'j' }), 'token', 1);
    const seeds = [worker.jobs.get('j')?.request.seed];
    worker.script = async (job) => {
      seeds.push(job.request.seed);
      await recite(['a', 'b'])(job);
    };
    await (await attach(await start(first), 'j')).all;
    expect(seeds[0]).toEqual(expect.any(Number));
    expect(seeds[1]).toBe(seeds[0]);
  });

  it('wait for their client, but not for ever, unless they are to be kept', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    await until(await first.task({ job_id: 'left' }), 'token', 1);
    const kept = await first.task({ job_id: 'kept', on_disconnect: 'keep' });
    await kept.until('queued');
    const second = await start(first, { client_returns: 50 });
    expect((await (await attach(second, 'kept')).until('accepted')).job_id).toBe('kept');
    for (let state = ''; state !== 'cancelled'; ) ({ state } = (await second.json('GET', '/v2/tasks/left')).body);
    expect((await second.json('GET', '/v2/tasks/left')).body.error.message).toContain('did not come back');
    // The first queen lives in this test and may disturb the other task, but nobody gives it up.
    expect((await second.json('GET', '/v2/tasks/kept')).body.state).not.toMatch(/cancelled|failed/);
    await second.call('DELETE', '/v2/tasks/kept');
  });

  it('end at a deadline that has passed meanwhile', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    const answer = await first.task({ job_id: 'j', timeout_seconds: 0.3 });
    await until(answer, 'token', 1);
    const state = join(mkdtempSync(join(folder, 'image-')), 'beehives.db');
    copyJournal(first, state);
    await answer.all;
    const image = { database: state };
    const second = await TestQueen.start({ hivePort: hive.port, settings: image });
    queens.push(second);
    const events = await (await attach(second, 'j')).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'REQUEST_TIMEOUT', status: 408 });
  });

  it('do not go on when their answer cannot be gone on with', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    await until(await first.task({ job_id: 'j', resume: false }), 'token', 1);
    const events = await (await attach(await start(first), 'j')).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'WORKER_CONNECTION_LOST', details: { tokens_out: 1 } });
    expect(textOf(events)).toBe('a');
  });

  it('outlive a queen that was told to end only when they are to be kept', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    const kept = await first.task({ job_id: 'kept', on_disconnect: 'keep' });
    await until(kept, 'token', 1);
    const other = await first.task({ job_id: 'other' });
    await other.until('queued');
    await first.beginStop();
    expect((await other.all).at(-2)).toMatchObject({ type: 'error', code: 'CANCELLED' });
    await expect(kept.all).rejects.toThrow();
    expect(kept.events.some(({ type }) => type === 'error')).toBe(false);
    expect(worker.jobs.size).toBe(0);
    worker.script = recite(['a', 'b']);
    const second = await start(first);
    expect(textOf(await (await attach(second, 'kept')).all)).toBe('ab');
    expect((await second.json('GET', '/v2/tasks/other')).body.state).toBe('cancelled');
  });

  it('keep an ephemeral queen alive until they have ended', async () => {
    const first = await start();
    worker.script = recite(['a', '?'], { at: 1 });
    await until(await first.task({ job_id: 'j', on_disconnect: 'keep' }), 'token', 1);
    const gate = openGate();
    worker.script = async (job) => {
      await gate.opened;
      await recite(['a', 'b'])(job);
    };
    const database = join(mkdtempSync(join(folder, 'image-')), 'beehives.db');
    copyJournal(first, database);
    const settings = { database, ephemeral: true, startGrace: 10 };
    const second = await TestQueen.start({ hivePort: hive.port, settings });
    queens.push(second);
    await worker.watch.until(() => worker.asked.filter((id) => id === 'j').length > 1);
    const lease = await second.stream('POST', '/v2/leases');
    const { lease_id } = await lease.until('leased');
    expect((await second.json('DELETE', `/v2/leases/${lease_id}`)).body).toEqual({ ending: false });
    gate.open();
    expect(await second.ended).toBe(0);
  });

  it('are lost to a second queen that runs at the same time, which works without a journal', async () => {
    const first = await start();
    const second = await TestQueen.start({ hivePort: hive.port, settings: { database: databases.get(first) ?? '' } });
    queens.push(second);
    worker.script = say(['a']);
    for (const queen of [second, first]) expect(textOf(await (await queen.task()).all)).toBe('a');
    expect((await first.json('GET', '/v2/tasks')).body.tasks).toHaveLength(1);
    expect((await second.json('GET', '/v2/tasks')).body.tasks).toEqual([]);
    expect(existsSync(`${databases.get(first)}`.replace('beehives', 'tasks'))).toBe(true);
  });
});

/** Lets a worker stop between two parts of its answer. */
function openGate() {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const script =
    (before: readonly string[], after: readonly string[]) =>
    async ({ stream }: ScriptedJob) => {
      const words = [...before, ...after];
      for (const [i, t] of words.entries()) {
        if (i === before.length) await opened;
        stream.send({ type: 'token', t, i, ids: [i] });
      }
      stream.send({ type: 'end', tokens_out: words.length, decode_time_ms: 1, stop_reason: 'EOS' });
    };
  return { open: () => open(), opened, script };
}

/** Resolves once so many events of a type have come. */
async function until(answer: Answer, type: string, count: number): Promise<void> {
  while (answer.events.filter((event) => event.type === type).length < count)
    await new Promise((resolve) => setImmediate(resolve));
}

/** The task, once so many clients listen to it. */
async function clientsOf(queen: TestQueen, id: string, count: number) {
  for (;;) {
    const { body } = await queen.json('GET', `/v2/tasks/${id}`);
    if (body.clients === count) return body;
  }
}

function textOf(events: readonly SentEvent[]): string {
  return events.flatMap(({ type, t }) => (type === 'token' ? [t] : [])).join('');
}

function ids(events: readonly SentEvent[]): string[] {
  return events.map(idOf).filter((id) => id !== '');
}
