import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { ScriptedWorker } from './testing/scripted-worker.js';
import { TestQueen, type TestQueenOptions } from './testing/test-queen.js';

const MODEL = 'hf:org/m:Q4_K_M';

describe('a worker that is started ahead of any task', () => {
  let folder: string;
  let here: ScriptedHive;
  let far: ScriptedHive;
  let queen: TestQueen;
  const start = async (options: Partial<TestQueenOptions> = {}) => {
    queen = await TestQueen.start({ hivePort: here.port, timeouts: { ready_poll: 20 }, ...options });
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'queen-spawn-'));
    [here, far] = await Promise.all([new ScriptedHive().start(), new ScriptedHive().start()]);
  });
  afterEach(async () => {
    await queen.stop();
    await Promise.all([here.stop(), far.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const addFar = async () => {
    const hive_token_file = join(folder, 'key');
    writeFileSync(hive_token_file, 'a-key\n', { mode: 0o600 });
    const node = { node_name: 'far', hive_url: `http://127.0.0.1:${far.port}`, hive_token_file };
    expect((await queen.json('POST', '/v2/registry/beehives/add', node)).status).toBe(200);
  };
  const begin = (body: object, init: { signal?: AbortSignal } = {}) =>
    queen.stream('POST', '/v2/workers/spawn', { model: 'builtin:honeycomb', backend: 'cpu', ...body }, init);
  const spawn = async (body: object = {}) => (await begin(body)).all;
  const list = async () => (await queen.json('GET', '/v2/workers/list')).body.workers;

  it('is one more, gets what was asked for, and is told to its end', async () => {
    await start();
    here.load = async (send) => {
      send({ type: 'progress', phase: 'load', stage: 'loading_to_vram', layers_loaded: 1, layers_total: 2 } as never);
    };
    const first = await here.addWorker(new ScriptedWorker());
    const events = await spawn({ slots_total: 2, context_size: 512, pinned: true });
    expect(here.spawned).toMatchObject([{ slots_total: 2, context_size: 512, pinned: true, backend: 'cpu' }]);
    expect(events.map(({ type, action }) => action ?? type)).toEqual([
      ...['hive_preflight', 'hive_preflight', 'hive_preflight', 'worker_spawn', 'progress', 'worker_spawn'],
      ...['end', '[DONE]'],
    ]);
    const { worker_id, ...end } = events.at(-2) as unknown as { worker_id: string };
    expect(end).toEqual({ type: 'end', node: 'localhost', url: expect.any(String), state: 'idle', pinned: true });
    expect(worker_id).not.toBe(first.id);
    expect((await list()).map((worker: { pinned: boolean }) => worker.pinned).sort()).toEqual([false, true]);
  });

  it('takes tasks as any other does, and a task that needs one waits for it', async () => {
    await start();
    let go: () => void = () => undefined;
    const paused = new Promise<void>((resolve) => {
      go = resolve;
    });
    here.load = () => paused;
    here.makeWorker = () => new ScriptedWorker();
    const spawned = await begin({});
    await spawned.until('narration');
    await here.watch.until(() => here.spawned.length === 1);
    const task = await queen.task();
    await task.until('narration');
    go();
    expect((await task.all).at(-2)).toMatchObject({ type: 'end', tokens_out: expect.any(Number) });
    expect((await spawned.all).at(-2)).toMatchObject({ type: 'end' });
    expect(here.spawned).toHaveLength(1);
  });

  it.each([
    ['the one that is asked for', { node: 'far' }, 'far'],
    ['where nothing speaks against it', {}, 'localhost'],
  ])('goes to a node: %s', async (_which, body, expected) => {
    await start();
    await addFar();
    expect((await spawn(body)).at(-2)).toMatchObject({ type: 'end', node: expected });
  });

  it('goes to the next node when one is full, and says so', async () => {
    await start();
    await addFar();
    here.spawnError = new RbeeError('WORKER_SPAWN_FAILED', 'this node runs 1 worker', { details: { limit: 1 } });
    const events = await spawn();
    expect(events.at(-2)).toMatchObject({ type: 'end', node: 'far' });
    const told = events.filter(({ action }) => action === 'retry' || action === 'worker_placed');
    expect(told.map(({ human }) => String(human).split(':')[0])).toEqual([
      'placing the worker on localhost',
      'localhost cannot start the worker',
      'placing the worker on far',
    ]);
  });

  const full = () => {
    const details = { limit: 1, room_later: true };
    return new RbeeError('WORKER_SPAWN_FAILED', 'this node runs 1 worker; worker-1 is in use', { details });
  };

  it('waits for room where workers are in use, and is started when one of them comes to rest', async () => {
    await start();
    const busy = await here.addWorker(new ScriptedWorker(), { state: 'busy', model: 'builtin:other' });
    here.spawnError = full();
    const spawned = await begin({});
    await here.watch.until(() => here.spawned.length === 1);
    const task = await queen.task();
    await task.until('narration');
    here.spawnError = undefined;
    here.setState(busy.id, 'idle');
    expect((await spawned.all).at(-2)).toMatchObject({ type: 'end' });
    expect((await task.all).at(-2)).toMatchObject({ type: 'end', tokens_out: expect.any(Number) });
    const waits = (await spawned.all).filter(({ action }) => action === 'room_wait');
    expect(waits.map(({ human }) => human)).toEqual([
      'waiting for room on localhost: this node runs 1 worker; worker-1 is in use',
    ]);
    expect(here.spawned).toHaveLength(2);
  });

  it('is given up when the time to wait for room is over, or nobody waits any more', async () => {
    await start({ timeouts: { ready_poll: 20, slot_wait: 0 } });
    here.spawnError = full();
    expect((await spawn()).at(-2)).toMatchObject({ code: 'WORKER_SPAWN_FAILED', details: { room_later: true } });
    await queen.stop();
    await start();
    const abort = new AbortController();
    const answer = await begin({}, { signal: abort.signal });
    answer.all.catch(() => undefined);
    await answer.until('narration');
    await here.watch.until(() => here.spawned.length === 2);
    abort.abort();
    // Whoever comes next begins anew.
    const next = await begin({});
    await here.watch.until(() => here.spawned.length === 3);
    here.spawnError = undefined;
    await here.addWorker(new ScriptedWorker(), { model: 'builtin:other' });
    expect((await next.all).at(-2)).toMatchObject({ type: 'end' });
    expect(here.spawned).toHaveLength(4);
  });

  it('waits for room at the last of several nodes', async () => {
    await start();
    await addFar();
    here.spawnError = full();
    far.spawnError = full();
    const spawned = await begin({});
    await far.watch.until(() => far.spawned.length === 1);
    far.spawnError = undefined;
    await far.addWorker(new ScriptedWorker(), { model: 'builtin:other' });
    expect((await spawned.all).at(-2)).toMatchObject({ type: 'end', node: 'far' });
  });

  it('fails with the answer of the node that was asked for', async () => {
    await start();
    await addFar();
    here.spawnError = new RbeeError('INSUFFICIENT_RAM', 'too little', { details: { required: 2, available: 1 } });
    expect((await spawn({ node: 'localhost' })).at(-2)).toMatchObject({ type: 'error', code: 'INSUFFICIENT_RAM' });
    far.spawnError = here.spawnError;
    expect((await spawn()).at(-2)).toMatchObject({
      code: 'NO_NODE_FITS',
      details: { nodes: [{ node: 'localhost', reason: 'too little' }, { node: 'far' }] },
    });
  });

  it.each([
    [{ node: 'nowhere' }, 404, 'NODE_NOT_FOUND'],
    [{ slots_total: 0 }, 400, 'INVALID_REQUEST'],
    [{ model: 'nonsense' }, 400, 'INVALID_MODEL_REF'],
  ])('is refused at once: %j', async (body, status, code) => {
    await start();
    const request = { model: 'builtin:honeycomb', backend: 'cpu', ...body };
    const answer = await queen.json('POST', '/v2/workers/spawn', request);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    expect(here.spawned).toEqual([]);
  });

  it('gets its model first; that stops when the client goes away', async () => {
    await start();
    here.models.fetch = () => new Promise(() => undefined);
    const abort = new AbortController();
    const answer = begin({ model: MODEL }, { signal: abort.signal });
    answer.catch(() => undefined);
    await here.watch.until(() => here.models.downloads.size === 1);
    const [download] = here.models.downloads.values();
    abort.abort();
    await here.watch.until(() => download?.ended === true);
    expect(here.spawned).toEqual([]);
    here.models.fetch = async () => 'weights';
    expect((await spawn({ model: MODEL })).at(-2)).toMatchObject({ type: 'end' });
  });

  it('stays when the client goes away while it loads', async () => {
    await start();
    let go: () => void = () => undefined;
    here.load = () =>
      new Promise<void>((resolve) => {
        go = resolve;
      });
    const abort = new AbortController();
    const answer = await begin({ pinned: true }, { signal: abort.signal });
    answer.all.catch(() => undefined);
    await here.watch.until(() => here.calls.includes('workerEvents'));
    abort.abort();
    go();
    await queen.untilStates('idle');
  });

  it('says that it goes with a queen that a command started, unless its hive stays', async () => {
    await start({ settings: { ephemeral: true, startGrace: 60_000 } });
    expect((await spawn()).filter(({ action }) => action === 'worker_ends')).toEqual([]);
  });
});

describe('a pin', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;
  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    queen = await TestQueen.start({ hivePort: hive.port });
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('is set and taken away at the hive of the worker, and listed at once', async () => {
    const { id: worker_id } = await hive.addWorker(new ScriptedWorker());
    for (const pinned of [true, false]) {
      const { status, body } = await queen.json('POST', '/v2/workers/pin', { worker_id, pinned });
      expect([status, body]).toMatchObject([200, { worker_id, pinned }]);
      const { body: listed } = await queen.json('GET', '/v2/workers/list');
      expect(listed.workers).toMatchObject([{ worker_id, pinned }]);
    }
  });

  it('of a worker that there is not is refused', async () => {
    const { status, body } = await queen.json('POST', '/v2/workers/pin', { worker_id: 'worker-none', pinned: true });
    expect([status, body.error.code]).toEqual([404, 'WORKER_NOT_FOUND']);
  });
});
