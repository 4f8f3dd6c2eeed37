import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Logger, silentLogger } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { hang, ScriptedWorker, say } from './testing/scripted-worker.js';
import { type Answer, type SentEvent, TestQueen, type TestQueenOptions } from './testing/test-queen.js';

const MODEL = 'hf:bees/tiny:q4_k_m';

/** Resolves once a narration of this action has come. */
async function untilSaid({ events }: Answer, action: string): Promise<void> {
  while (!events.some((event) => event.action === action)) await new Promise((resolve) => setImmediate(resolve));
}

describe('the deadline of a task', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;
  /** Deadlines as they came to the worker. */
  let atWorker: unknown[];

  const begin = async (options: Partial<TestQueenOptions> = {}) => {
    queen = await TestQueen.start({ hivePort: hive.port, ...options });
  };
  const makeWorker = () => {
    const worker = new ScriptedWorker();
    worker.script = async (job) => {
      atWorker.push(job.headers['x-request-deadline']);
      await say(['a'])(job);
    };
    return worker;
  };
  const terminal = (events: SentEvent[]) => events.find(({ type }) => type === 'end' || type === 'error');
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();

  beforeEach(async () => {
    atWorker = [];
    hive = await new ScriptedHive().start();
    hive.makeWorker = makeWorker;
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('is one and the same in every call that is made for it: download, spawn, loading, inference', async () => {
    await begin();
    const deadline = at(60_000);
    const events = await (await queen.task({ model: MODEL }, { headers: { 'X-Request-Deadline': deadline } })).all;
    expect(terminal(events)).toMatchObject({ type: 'end' });
    for (const name of ['downloadModel', 'downloadProgress', 'spawnWorker', 'workerEvents']) {
      expect([name, hive.deadlines.get(name)]).toEqual([name, [deadline]]);
    }
    expect(atWorker).toEqual([deadline]);
  });

  it('is made of its own limit when it is accepted, and not later', async () => {
    await begin();
    const before = Date.now();
    await (await queen.task({ timeout_seconds: 30 })).all;
    const [deadline] = hive.deadlines.get('spawnWorker') ?? [];
    expect(atWorker).toEqual([deadline]);
    expect(Date.parse(String(deadline)) - before - 30_000).toBeGreaterThanOrEqual(0);
    expect(Date.parse(String(deadline)) - before - 30_000).toBeLessThan(2_000);
  });

  it('is 300 s from the acceptance by the worker where there is none; what comes before has its own limits', async () => {
    await begin();
    await (await queen.task()).all;
    expect(hive.deadlines.get('spawnWorker')).toEqual([undefined]);
    expect(Math.abs(Date.parse(String(atWorker[0])) - Date.now() - 300_000)).toBeLessThan(5_000);
  });

  it('is not made later by a header, which is said in the log', async () => {
    const warnings: string[] = [];
    const log: Logger = {
      ...silentLogger,
      warn: (_fields: unknown, message?: string) => void warnings.push(message ?? ''),
      with: () => log,
    };
    await begin({ log });
    const headers = { 'X-Request-Deadline': at(3_600_000) };
    await (await queen.task({ timeout_seconds: 30 }, { headers })).all;
    expect(Math.abs(Date.parse(String(atWorker[0])) - Date.now() - 30_000)).toBeLessThan(5_000);
    expect(warnings).toContain("a deadline header later than the task's own was ignored");
  });

  it('stands in the envelope of the 408', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    worker.script = hang(['a']);
    await begin();
    const deadline = at(400);
    const response = await queen.call('POST', '/v2/tasks', {
      body: { prompt: 'p', stream: false },
      headers: { 'X-Request-Deadline': deadline },
    });
    expect(response.status).toBe(408);
    expect(await response.json()).toMatchObject({
      error: { code: 'REQUEST_TIMEOUT', details: { deadline }, retryable: false, correlation_id: expect.anything() },
    });
    await worker.watch.until(() => worker.cancelled.length === 1 && worker.jobs.size === 0);
  });

  it('of the last of those who wait for a worker is that of its start', async () => {
    let loaded = () => {};
    let giveUp = (_reason: RbeeError) => {};
    let loads = 0;
    hive.load = () => {
      loads++;
      hive.watch.touch();
      return new Promise<void>((resolve, reject) => {
        loaded = resolve;
        giveUp = reject;
      });
    };
    await begin();
    const hasty = await queen.task({ timeout_seconds: 30 });
    await hive.watch.until(() => loads === 1);
    const patient = await queen.task({ timeout_seconds: 60 });
    await untilSaid(patient, 'worker_spawn');
    // As it does when the deadline that it was told has passed.
    giveUp(new RbeeError('REQUEST_TIMEOUT', 'the deadline has passed'));
    await hive.watch.until(() => loads === 2);
    loaded();
    for (const each of [hasty, patient]) expect(terminal(await each.all)).toMatchObject({ type: 'end' });
    expect(hive.spawned).toHaveLength(1);
    const [first, last] = [...atWorker].sort();
    expect(first).not.toBe(last);
    expect(hive.deadlines.get('workerEvents')).toEqual([first, last]);
  });
});

describe('a task that is cancelled', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;

  /** The fastest of a few times: a machine that is busy with other work may be slow once. */
  const fastest = async (run: () => Promise<number>): Promise<number> => {
    let best = Number.POSITIVE_INFINITY;
    for (let times = 0; times < 5 && best >= 100; times++) {
      hive = await new ScriptedHive().start();
      try {
        best = Math.min(best, await run());
      } finally {
        await queen.stop();
        await hive.stop();
      }
    }
    return best;
  };
  const cancel = (id: string) => queen.call('DELETE', `/v2/tasks/${id}`);
  const terminal = (events: SentEvent[]) => events.find(({ type }) => type === 'end' || type === 'error');

  it.each<[string, () => Promise<{ reached: () => Promise<unknown>; gone?: () => Promise<unknown> }>]>([
    [
      'the queue',
      async () => {
        const worker = await hive.addWorker(new ScriptedWorker(1));
        worker.script = hang(['a']);
        return {
          reached: async () => {
            await worker.watch.until(() => worker.jobs.size === 1);
          },
        };
      },
    ],
    [
      'the evaluation of its prompt',
      async () => {
        const worker = await hive.addWorker(new ScriptedWorker());
        worker.script = hang([]);
        return {
          reached: () => worker.watch.until(() => worker.jobs.has('j')),
          gone: () => worker.watch.until(() => !worker.jobs.has('j')),
        };
      },
    ],
    [
      'the loading of its worker',
      async () => {
        hive.load = () => new Promise(() => undefined);
        return { reached: () => hive.watch.until(() => hive.calls.includes('workerEvents')) };
      },
    ],
    [
      'a download that nobody else needs',
      async () => {
        let ended = () => {};
        const end = new Promise<void>((resolve) => (ended = resolve));
        hive.models.fetch = (download) => {
          download.abort.signal.addEventListener('abort', ended, { once: true });
          return new Promise(() => undefined);
        };
        return { reached: () => hive.watch.until(() => hive.calls.includes('downloadProgress')), gone: () => end };
      },
    ],
    [
      'the preflight of a hive that does not answer',
      async () => {
        hive.holds.add('listBackends');
        return { reached: () => hive.watch.until(() => hive.calls.includes('listBackends')) };
      },
    ],
  ])('leaves %s within 100 ms', async (what, prepare) => {
    const run = async () => {
      const { reached, gone } = await prepare();
      queen = await TestQueen.start({ hivePort: hive.port });
      const first = what === 'the queue' ? await queen.task({ job_id: 'first' }) : undefined;
      await first?.until('token');
      const model = what.startsWith('a download') ? { model: MODEL } : {};
      const answer = await queen.task({ job_id: 'j', ...model });
      if (first) await answer.until('queued');
      await reached();
      const before = performance.now();
      await cancel('j');
      await gone?.();
      const took = performance.now() - before;
      const events = await answer.all;
      expect(terminal(events)).toMatchObject({ code: 'CANCELLED', status: 499 });
      expect(events.at(-1)).toEqual({ type: '[DONE]' });
      if (first) await cancel('first');
      return took;
    };
    expect(await fastest(run)).toBeLessThan(100);
  });

  it('leaves a hive that is being started within 100 ms', async () => {
    const program = { command: process.execPath, args: ['-e', 'setInterval(() => {}, 1000)', '--'] };
    const run = async () => {
      const { port } = hive;
      await hive.stop();
      queen = await TestQueen.start({ hivePort: port, hiveProgram: program });
      const answer = await queen.task({ job_id: 'j' });
      await untilSaid(answer, 'hive_start');
      const before = performance.now();
      await cancel('j');
      const took = performance.now() - before;
      expect(terminal(await answer.all)).toMatchObject({ code: 'CANCELLED' });
      return took;
    };
    expect(await fastest(run)).toBeLessThan(100);
  });
});
