import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { identify, isRunning, type ProcessIdentity } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { TestHive, type TestHiveOptions } from '../../test/test-hive.js';

let hive: TestHive;
const start = async (options?: TestHiveOptions) => {
  hive = await TestHive.start(options);
};
afterEach(() => hive.stop());

const log = () => readFileSync(join(hive.home, '.rbee/logs/rbee-hive.log'), 'utf8');
const crashFile = () => join(hive.home, '.rbee/logs/crashes.jsonl');
const processOf = async (workerId: string): Promise<ProcessIdentity> => {
  const { pid = 0 } = await hive.worker(workerId);
  return identify(pid) ?? { pid, startTime: undefined };
};
/** The one worker that took the place of another. */
const successorOf = async (workerId: string) => {
  const [worker] = await hive.until(([one]) => one !== undefined && one.id !== workerId && one.state === 'idle');
  return worker;
};
const FAST_CANARY = { canary: 150, canary_answer: 200 };

describe('a crash', () => {
  it('is kept with what is known about it, and in a file of its own', async () => {
    await start();
    const worker = await hive.ready();
    const { pid } = await processOf(worker.worker_id);
    await hive.tell(worker, { jobs: 2 });
    process.kill(pid, 'SIGKILL');
    await hive.until((workers) => workers.length === 0);
    const { last_error } = await hive.worker(worker.worker_id);
    expect(last_error).toMatchObject({
      code: 'WORKER_CRASHED',
      message: 'the worker ended with signal SIGKILL',
      details: { exit_code: null, signal: 'SIGKILL', jobs: 2, last_lines: [expect.stringContaining('starts')] },
    });
    const records = readFileSync(crashFile(), 'utf8').trim().split('\n');
    expect(records.map((line) => JSON.parse(line))).toEqual([
      {
        ...{ time: expect.any(String), worker_id: worker.worker_id, model_ref: 'builtin:honeycomb', pid, jobs: 2 },
        ...{ exit_code: null, signal: 'SIGKILL', state: 'busy', last_lines: [expect.stringContaining('starts')] },
      },
    ]);
    expect(statSync(crashFile()).mode & 0o777).toBe(0o600);
  });

  it('while loading is kept too, and only the newest two hundred are', async () => {
    await start({ script: { exitAtLayer: 2 } });
    const old = Array.from({ length: 200 }, (_, index) => JSON.stringify({ worker_id: `worker-${index}` }));
    writeFileSync(crashFile(), `${old.join('\n')}\n`);
    const { worker_id } = await hive.spawn();
    await hive.startEvents(worker_id);
    const lines = readFileSync(crashFile(), 'utf8').trim().split('\n');
    expect(lines).toHaveLength(200);
    expect(JSON.parse(lines[0] ?? '')).toEqual({ worker_id: 'worker-1' });
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ worker_id, state: 'loading', exit_code: 3 });
  });

  it('leads to a new start only where that is wanted', async () => {
    await start({ timeouts: { restart_wait: 10 } });
    const worker = await hive.ready();
    await hive.tell(worker, { exit: 9 });
    await hive.until((workers) => workers.length === 0);
    expect(log()).toMatch(/does not start lost workers again/);
  });

  it('leads to three new starts at most, which tell how many they were', async () => {
    await start({ config: { restartWorkers: true }, timeouts: { restart_wait: 20 } });
    let { worker_id: id, url } = await hive.ready({ slots_total: 3 });
    for (const restarts of [1, 2, 3]) {
      await hive.tell({ url }, { exit: 9 });
      const next = await successorOf(id);
      expect(next).toMatchObject({ restart_count: restarts, slots_total: 3, model_ref: 'builtin:honeycomb' });
      ({ id = '', url } = { id: next?.id, url: next?.url });
    }
    await hive.tell({ url }, { exit: 9 });
    await hive.until((workers) => workers.length === 0);
    expect(log()).toMatch(/not started again: it was started again 3 times already/);
  }, 20_000);

  it('of a pinned worker always leads to a new start, which is pinned again', async () => {
    await start({ timeouts: { restart_wait: 10 } });
    const { worker_id, url } = await hive.ready({ pinned: true });
    await hive.tell({ url }, { exit: 9 });
    expect(await successorOf(worker_id)).toMatchObject({ pinned: true, restart_count: 1 });
  });

  it('is not followed by a new start when the worker is stopped meanwhile', async () => {
    await start({ timeouts: { restart_wait: 60_000 } });
    const { worker_id, url } = await hive.ready({ pinned: true });
    await hive.tell({ url }, { exit: 9 });
    await hive.until((workers) => workers.length === 0);
    await hive.shutDownWorker(worker_id);
    expect(log()).toMatch(/is not started again: it was stopped/);
  });

  it('is not followed by a new start either when the worker was ended for its health', async () => {
    const clock = new ManualClock();
    await start({ clock });
    const { worker_id, url } = await hive.ready({ pinned: true });
    await hive.tell({ url }, { health: 'bad' });
    for (const failures of [1, 2]) {
      await clock.advance(30_000);
      await hive.until(([one]) => one?.failed_health_checks === failures);
    }
    await clock.advance(30_000);
    await hive.until((workers) => workers.length === 0);
    await hive.shutDownWorker(worker_id);
    expect(log()).toMatch(/is not started again: it was stopped/);
    await clock.advance(60_000);
    expect(await hive.workers()).toEqual([]);
  });

  it('of a worker whose port goes on answering leaves the port unused', async () => {
    await start();
    const { worker_id, url } = await hive.ready();
    const { pid } = await processOf(worker_id);
    const init = { method: 'POST', body: JSON.stringify({ heir: true }) };
    const { heir } = (await (await fetch(`${url}/test`, init)).json()) as { heir: number };
    process.kill(pid, 'SIGKILL');
    await hive.until((workers) => workers.length === 0);
    const second = await hive.ready();
    expect(second.url).not.toBe(url);
    expect(log()).toMatch(new RegExp(`"action":"zombie_worker","target":"${worker_id}"`));
    process.kill(heir, 'SIGKILL');
    await hive.until(([one]) => one?.state === 'idle');
  });
});

describe('an engine that stands still', () => {
  it('is found out by a canary, killed without any wait and replaced', async () => {
    await start({ timeouts: { ...FAST_CANARY, kill: 60_000, shutdown_ack: 60_000 } });
    const worker = await hive.ready({ slots_total: 3 });
    const hung = await processOf(worker.worker_id);
    await hive.tell(worker, { canary: 'hang' });
    const next = await successorOf(worker.worker_id);
    expect(next).toMatchObject({ restart_count: 1, slots_total: 3 });
    expect(isRunning(hung)).toBe(false);
    expect(log()).toMatch(/no answer to a canary within 200 ?ms/);
  });

  it('is found out in a worker that was stopped', async () => {
    await start({ timeouts: { ...FAST_CANARY, kill: 60_000 } });
    const worker = await hive.ready();
    const stopped = await processOf(worker.worker_id);
    process.kill(stopped.pid, 'SIGSTOP');
    await successorOf(worker.worker_id);
    expect(isRunning(stopped)).toBe(false);
  });

  it('is found out by the error that it answers', async () => {
    await start({ timeouts: FAST_CANARY });
    const worker = await hive.ready();
    await hive.tell(worker, { canary: 'fail' });
    await successorOf(worker.worker_id);
    expect(log()).toMatch(/INFERENCE_FAILED: no logits/);
  });

  it('lets jobs that still move come to their end', async () => {
    await start({ timeouts: FAST_CANARY });
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 1, stepMs: 10, canary: 'fail' });
    await successorOf(worker.worker_id);
    expect(log()).not.toMatch(/SIGKILL/);
  });

  it('is replaced once when somebody asks for such a worker as soon as it is lost', async () => {
    await start({ timeouts: { ...FAST_CANARY, restart_wait: 10 } });
    const worker = await hive.ready({ slots_total: 3 });
    await hive.tell(worker, { canary: 'hang' });
    await hive.until(([one]) => one?.state !== 'idle');
    const asked = await hive.spawn({ or_replacement: true });
    expect(asked.worker_id).not.toBe(worker.worker_id);
    expect(await successorOf(worker.worker_id)).toMatchObject({
      id: asked.worker_id,
      slots_total: 3,
      restart_count: 1,
    });
    await hive.startEvents(asked.worker_id);
    expect(await hive.workers()).toMatchObject([{ id: asked.worker_id }]);
    expect(log().match(/"action":"worker_dispatch"/g)).toHaveLength(2);
  });

  it('does not bring another worker once somebody has stopped this one', async () => {
    await start({ timeouts: { ...FAST_CANARY, shutdown_ack: 1_000 }, script: { ignoreShutdown: true } });
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 1, stepMs: 10, canary: 'fail' });
    await hive.until(([one]) => one?.state === 'draining');
    await hive.shutDownWorker(worker.worker_id);
    await hive.until((workers) => workers.length === 0);
    expect(log()).not.toMatch(/worker_restart/);
  });

  it('is found out by its own account when all slots are in use', async () => {
    await start({ timeouts: { ...FAST_CANARY, health_poll: 100 } });
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 2, stepMs: 5_000 });
    const grows = setInterval(
      () => hive.tell(worker, { stepMs: 6_000 + performance.now() }).catch(() => undefined),
      100,
    );
    await successorOf(worker.worker_id).finally(() => clearInterval(grows));
    expect(log()).toMatch(/has been at one step for/);
  });

  it('is not seen in one that only has a lot to do', async () => {
    await start({ timeouts: { ...FAST_CANARY, health_poll: 100 } });
    const worker = await hive.ready();
    await hive.tell(worker, { jobs: 2, stepMs: 150 });
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(await hive.workers()).toMatchObject([{ id: worker.worker_id, state: 'busy', restart_count: 0 }]);
  });
});

it('a worker that was cut off is well again after its heartbeat', async () => {
  const clock = new ManualClock();
  await start({ clock });
  const worker = await hive.ready();
  await hive.tell(worker, { health: 'bad' });
  await clock.advance(30_000);
  await hive.until(([one]) => one?.state === 'unhealthy' && one.failed_health_checks === 1);
  await hive.tell(worker, { jobs: 0 });
  expect(await hive.workers()).toMatchObject([{ state: 'idle', failed_health_checks: 0 }]);
});

it('an idle worker that gets a job in the last moment does not end', async () => {
  await start({ timeouts: { idle_worker: 150, shutdown_ack: 1000 } });
  const refused: number[] = [];
  for (let round = 0; round < 12; round++) {
    const worker = await hive.ready();
    await new Promise((resolve) => setTimeout(resolve, 130 + round * 4));
    const took = await hive.tell(worker, { jobs: 1 }).then(
      () => true,
      () => false,
    );
    if (took) {
      // Whoever has taken a job keeps it, for as long as it takes.
      await new Promise((resolve) => setTimeout(resolve, 250));
      expect(await hive.workers()).toMatchObject([{ id: worker.worker_id, slots_available: 1 }]);
      await hive.tell(worker, { jobs: 0 });
    } else refused.push(round);
    await hive.until((workers) => workers.length === 0);
  }
  expect(log()).not.toMatch(/SIGKILL|worker_crash/);
  expect(refused.length).toBeLessThan(12);
}, 60_000);
