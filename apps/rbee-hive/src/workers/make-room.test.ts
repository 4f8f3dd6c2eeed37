import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { callJson, identify, isRunning } from '@rbee/daemon-kit';
import { growTo, writeMadeModel } from '@rbee/fixtures';
import { hiveRoutes, type SpawnAnswer } from '@rbee/protocol';
import { TestHive, type TestHiveOptions } from '../../test/test-hive.js';

let hive: TestHive;
const start = async ({ config, timeouts, ...options }: TestHiveOptions = {}, machine?: object) => {
  hive = await TestHive.start({
    ...options,
    config: { ...config, probeFile: machine && writeMachine(machine) },
    // Soon after its start a worker may be ended.
    timeouts: { ready_poll: 1, ...timeouts },
  });
};
afterEach(async () => {
  await hive.stop();
  rmSync(PROBE_FILE, { force: true });
});

const PROBE_FILE = join(process.env.TMPDIR ?? '/tmp', `rbee-probe-${process.pid}.json`);
/** A machine whose workers hold what they hold; its figures are those without them. */
function writeMachine(machine: object): string {
  const figures = { ram_total_mb: 64_000, without_workers: true, ...machine };
  writeFileSync(PROBE_FILE, JSON.stringify(figures));
  return PROBE_FILE;
}

/** A model of so many MB, which needs 1.2 times as much and then holds 80 MB more than its size. */
function model(name: string, megabytes: number): string {
  const folder = join(hive.home, '.local/share/rbee/models');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.gguf`);
  writeMadeModel(path);
  growTo(path, megabytes);
  return `file://${path}`;
}

const ids = async () => (await hive.workers()).map(({ id }) => id);
const pidOf = async ({ worker_id }: SpawnAnswer) => (await hive.worker(worker_id)).pid as number;
const runs = (pid: number) => {
  const identity = identify(pid);
  return identity !== undefined && isRunning(identity);
};
const roomMade = async ({ worker_id }: SpawnAnswer) =>
  (await hive.startEvents(worker_id)).flatMap((event) =>
    event.type === 'narration' && event.action === 'make_room' ? [event] : [],
  );
const pin = (worker: SpawnAnswer, pinned: boolean) =>
  callJson(hive.target, hiveRoutes.pinWorker, { params: { worker_id: worker.worker_id }, body: { pinned } });
/** A job comes to a worker, and its hive hears of it; or it ends. */
const setJobs = async (worker: SpawnAnswer, jobs: number) => {
  await hive.tell(worker, { jobs });
  await hive.until((workers) =>
    workers.some(
      ({ id, slots_total, slots_available }) => id === worker.worker_id && slots_available === slots_total - jobs,
    ),
  );
};

describe('room among the workers of a hive', () => {
  it('is made by ending the idle one, which the new worker tells', async () => {
    await start({ config: { maxWorkers: 1 } });
    const first = await hive.ready();
    const pid = await pidOf(first);
    const second = await hive.ready();
    expect(await ids()).toEqual([second.worker_id]);
    expect(runs(pid)).toBe(false);
    const [told, ...more] = await roomMade(second);
    expect(more).toEqual([]);
    expect(told).toMatchObject({
      actor: 'rbee-hive',
      target: first.worker_id,
      human: expect.stringMatching(/^the limit is 1 worker: ended builtin:honeycomb, idle for \d.*s$/),
      correlation_id: 'corr-1',
    });
    const log = readFileSync(join(hive.home, '.rbee/logs/rbee-hive.log'), 'utf8');
    expect(log).toContain(`stopping ${first.worker_id} (making room for builtin:honeycomb)`);
  });

  it('is not made of one that is in use: the refusal names it', async () => {
    await start({ config: { maxWorkers: 1 } });
    const busy = await hive.ready({ slots_total: 2 });
    await setJobs(busy, 1);
    await expect(hive.spawn()).rejects.toMatchObject({
      code: 'WORKER_SPAWN_FAILED',
      message: `this node runs 1 worker, which is its limit; ${busy.worker_id} (builtin:honeycomb) is in use`,
      details: { limit: 1, room_later: true, workers: [{ worker_id: busy.worker_id, reason: 'is in use' }] },
    });
    await setJobs(busy, 0);
    await hive.ready();
    expect(await ids()).not.toContain(busy.worker_id);
  });

  it('is not made of one whose first job may still come, until that has ended', async () => {
    await start({ config: { maxWorkers: 1 }, timeouts: { ready_poll: 60_000 } });
    const fresh = await hive.ready();
    await expect(hive.spawn()).rejects.toMatchObject({
      code: 'WORKER_SPAWN_FAILED',
      details: { room_later: true, workers: [{ worker_id: fresh.worker_id, reason: 'has just been started' }] },
    });
    await setJobs(fresh, 1);
    await setJobs(fresh, 0);
    await hive.ready();
    expect(await ids()).not.toContain(fresh.worker_id);
  });

  it('is not made of one that has got a job of which the hive knows nothing yet', async () => {
    await start({ config: { maxWorkers: 2 } });
    const [used, idle] = [await hive.ready(), await hive.ready()];
    await hive.tell(used, { jobs: 1, unheard: true });
    const third = await hive.ready();
    expect((await ids()).sort()).toEqual([used.worker_id, third.worker_id].sort());
    expect(await roomMade(third)).toMatchObject([{ target: idle.worker_id }]);
    // It has learned of the job now.
    await expect(hive.worker(used.worker_id)).resolves.toMatchObject({ slots_available: 1 });
  });

  it('is not made of one that does not answer', async () => {
    await start({ script: { ignoreShutdown: true }, config: { maxWorkers: 1 }, timeouts: { shutdown_ack: 100 } });
    const mute = await hive.ready();
    await expect(hive.spawn()).rejects.toMatchObject({
      code: 'WORKER_SPAWN_FAILED',
      details: { workers: [{ worker_id: mute.worker_id }] },
    });
    expect(await ids()).toEqual([mute.worker_id]);
  });

  it('is kept to when many are asked for at once, and every process is one of the list', async () => {
    await start({ config: { maxWorkers: 2 } });
    const most: number[] = [];
    const rounds = [6, 3, 4].map((count) => Array.from({ length: count }, () => hive.spawn()));
    for (const round of rounds) {
      const spawned = await Promise.allSettled(round);
      most.push((await hive.workers()).length);
      const refused = spawned.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
      expect(new Set(refused)).toEqual(new Set(refused.length > 0 ? ['WORKER_SPAWN_FAILED'] : []));
    }
    await hive.until((workers) => workers.every(({ state }) => state === 'idle'));
    expect(Math.max(...most)).toBe(2);
    const pids = (await hive.workers()).map(({ pid }) => pid);
    expect(
      childrenOf(process.pid)
        .filter(({ command }) => command.includes(hive.home))
        .map(({ pid }) => pid),
    ).toEqual(pids);
  });

  it('comes by itself when a worker is ending already', async () => {
    await start({ config: { maxWorkers: 2 } });
    const [leaving, idle] = [await hive.ready(), await hive.ready()];
    await hive.shutDownWorker(leaving.worker_id);
    const third = await hive.ready();
    expect((await ids()).sort()).toEqual([idle.worker_id, third.worker_id].sort());
  });
});

describe('room in memory', () => {
  const cpu = { backends: [{ name: 'cpu', devices: 1 }], gpus: [] };

  it('is made of the worker that was used least recently, and of no more', async () => {
    await start({}, { ...cpu, ram_available_mb: 4000 });
    const spawn = (name: string) => hive.ready({ model: model(name, 1000) });
    const [oldest, used, newest] = [await spawn('a'), await spawn('b'), await spawn('c')];
    await setJobs(oldest, 1);
    await setJobs(oldest, 0);
    await expect(hive.worker(oldest.worker_id)).resolves.toMatchObject({ last_job_ended_at: expect.any(String) });
    const big = await hive.ready({ model: model('d', 1200) });
    expect((await ids()).sort()).toEqual([oldest, newest, big].map(({ worker_id }) => worker_id).sort());
    expect(await roomMade(big)).toMatchObject([
      {
        target: used.worker_id,
        human: expect.stringMatching(/^1440 MB needed, \d+ MB free: ended b\.gguf, idle for \d/),
      },
    ]);
  });

  it('says how much of it there is and how much is needed', async () => {
    await start({ script: { memory: memoryOf(900) } }, { ...cpu, ram_available_mb: 1400 });
    const small = await hive.ready();
    // The worker's own figure comes with its callback, which may be a moment behind the end of its load.
    await hive.until(([one]) => Math.abs((one?.memory_bytes ?? 0) - 980 * 2 ** 20) < 5_000_000);
    await expect(hive.worker(small.worker_id)).resolves.toMatchObject({
      model_digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      pinned: false,
    });
    const big = await hive.ready({ model: model('e', 1000) });
    expect(await roomMade(big)).toMatchObject([
      {
        human: expect.stringMatching(/^1200 MB needed, 4\d\d MB free: ended builtin:honeycomb, idle for \d/),
      },
    ]);
  });

  it('is made of none when all of them would not be enough', async () => {
    await start({}, { ...cpu, ram_available_mb: 4000 });
    const [one, two] = [await hive.ready({ model: model('a', 1000) }), await hive.ready({ model: model('b', 1000) })];
    await expect(hive.spawn({ model: model('huge', 4000) })).rejects.toMatchObject({
      code: 'INSUFFICIENT_RAM',
      message: expect.stringMatching(/need 4800 MB, \d+ MB are free; .+ is idle, but ending it would not be enough/),
      details: { required: 4800, room_later: false, workers: [{ memory_mb: expect.any(Number) }, {}] },
    });
    expect((await ids()).sort()).toEqual([one.worker_id, two.worker_id].sort());
  });

  it('is not made of a pinned worker, until it is let go', async () => {
    await start({}, { ...cpu, ram_available_mb: 2000 });
    const kept = await hive.ready({ model: model('a', 1000), pinned: true });
    const next = { model: model('b', 1000) };
    await expect(hive.spawn(next)).rejects.toMatchObject({
      code: 'INSUFFICIENT_RAM',
      message: expect.stringContaining('is pinned'),
      suggestion: expect.stringContaining(`rbee-keeper workers pin --id ${kept.worker_id} --off`),
      details: { room_later: false, workers: [{ worker_id: kept.worker_id, pinned: true, reason: 'is pinned' }] },
    });
    await expect(pin(kept, false)).resolves.toMatchObject({ id: kept.worker_id, pinned: false });
    const after = await hive.ready(next);
    expect(await ids()).toEqual([after.worker_id]);
  });

  it('is made once for each of two that start at the same time', async () => {
    await start({}, { ...cpu, ram_available_mb: 5400 });
    const old = [];
    for (const name of ['a', 'b', 'c']) old.push(await hive.ready({ model: model(name, 1000) }));
    // 2160 MB are free: the first finds its 1800 there, the second needs one worker less.
    const wanted = { model: model('d', 1500) };
    const both = await Promise.all([hive.ready(wanted), hive.ready(wanted)]);
    const [, second, third] = old.map(({ worker_id }) => worker_id);
    const expected = [second, third, ...both.map(({ worker_id }) => worker_id)];
    expect((await ids()).sort()).toEqual(expected.slice(1).sort());
    const told = await Promise.all(both.map(roomMade));
    expect(told.flat().map(({ target }) => target)).toEqual(old.slice(0, 2).map(({ worker_id }) => worker_id));
  });

  it('is made on the device that needs it', async () => {
    const gpu = (index: number) => ({ backend: 'cuda', index, name: 'GPU', vram_total_mb: 2000, vram_free_mb: 2000 });
    const backends = [
      { name: 'cpu', devices: 1 },
      { name: 'cuda', devices: 2 },
    ];
    await start({}, { backends, gpus: [gpu(0), gpu(1)], ram_available_mb: 16_000 });
    const on = (device: number, name: string) => hive.ready({ model: model(name, 1000), backend: 'cuda', device });
    const [other, same] = [await on(0, 'a'), await on(1, 'b')];
    const next = await on(1, 'c');
    expect((await ids()).sort()).toEqual([other.worker_id, next.worker_id].sort());
    expect(await roomMade(next)).toMatchObject([
      {
        target: same.worker_id,
        human: expect.stringMatching(/^1200 MB needed on cuda:1, \d+ MB free: ended b\.gguf, idle for \d/),
      },
    ]);
    await expect(hive.spawn({ model: model('f', 3000), backend: 'cuda', device: 1 })).rejects.toMatchObject({
      code: 'VRAM_EXHAUSTED',
      details: { workers: [{}, {}] },
    });
    expect(await ids()).toHaveLength(2);
  });
});

/** Processes that this one has started and that still run. */
function childrenOf(parent: number): { pid: number; command: string }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      const [, ppid] = /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return Number(ppid) === parent ? [{ pid: Number(pid), command }] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

function memoryOf(megabytes: number): object {
  const total_bytes = megabytes * 2 ** 20;
  const parts = { weights_bytes: total_bytes, kv_cache_bytes: 0, compute_bytes: 0 };
  return { ...parts, total_bytes, context_size: 256, slots: 2 };
}
