import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { identify, isRunning, type ProcessIdentity, systemClock, waitUntilGone } from '@rbee/daemon-kit';
import { killedHive, type Left } from '../../test/killed-hive.js';
import { TestHive, type TestHiveOptions } from '../../test/test-hive.js';

let hive: TestHive | undefined;
afterEach(async () => {
  await hive?.stop();
  hive = undefined;
});

const next = async (left: Left, options: TestHiveOptions = {}) => {
  hive = await TestHive.start({ ...options, home: left.home });
  return hive;
};
const recordFile = (left: Left) => join(left.home, '.rbee/run/workers', `${left.workers[0]?.worker_id}.json`);
const readRecord = (left: Left) => JSON.parse(readFileSync(recordFile(left), 'utf8'));
const processOf = (left: Left): ProcessIdentity => readRecord(left).process;
const runFiles = (left: Left) => readdirSync(join(left.home, '.rbee/run/workers'));

describe('the workers of a killed hive', () => {
  it('are taken over with their ids, figures and keys, before anybody can ask', async () => {
    const left = await killedHive({ spawns: [{ slots_total: 3 }, { slots_total: 1, pinned: true }] });
    const [first, second] = left.workers;
    const taken = await next(left);
    const workers = await taken.workers();
    expect(workers).toHaveLength(2);
    expect(workers).toContainEqual(
      expect.objectContaining({ id: first?.worker_id, url: first?.url, state: 'idle', slots_total: 3, owned: true }),
    );
    expect(workers).toContainEqual(expect.objectContaining({ id: second?.worker_id, pinned: true, slots_total: 1 }));
    expect(
      workers.every(({ model_digest, memory_bytes }) => model_digest?.length === 64 && Number(memory_bytes) > 0),
    ).toBe(true);
    expect(await taken.worker(first?.worker_id ?? '')).toMatchObject({ api_key: first?.api_key });
    expect((await taken.startEvents(first?.worker_id ?? '')).at(-1)).toMatchObject({ type: 'end', state: 'idle' });
    expect(readRecord(left).hive).toEqual(identify(process.pid));
    // The installation that it runs from must stay as long as it runs.
    const note = join(left.home, '.rbee/run/hives', `${processOf(left).pid}.json`);
    expect(JSON.parse(readFileSync(note, 'utf8'))).toMatchObject({ installation: expect.any(String) });
    await taken.shutDownWorker(first?.worker_id ?? '');
    await taken.until((list) => list.length === 1);
    expect(existsSync(note)).toBe(false);
  });

  it('are taken over also when what they wrote cannot be read', async () => {
    const left = await killedHive({ spawns: [{}, {}] });
    const [first] = left.workers;
    const file = join(left.home, '.rbee/logs', `${first?.worker_id}.log`);
    rmSync(file);
    mkdirSync(file);
    const taken = await next(left);
    const ids = (await taken.workers()).map(({ id }) => id);
    expect(ids.sort()).toEqual(left.workers.map(({ worker_id }) => worker_id).sort());
    await taken.shutDownWorker(first?.worker_id ?? '');
    await taken.until((list) => list.length === 1);
  });

  it('are stopped by the hive that took them over', async () => {
    const left = await killedHive();
    const worker = processOf(left);
    const taken = await next(left);
    await taken.shutDownWorker(left.workers[0]?.worker_id ?? '');
    await taken.until((workers) => workers.length === 0);
    expect(isRunning(worker)).toBe(false);
    expect(runFiles(left)).toEqual([]);
  });

  it('are killed when they do not end, although they are no children', async () => {
    const left = await killedHive({ script: { ignoreShutdown: true, ignoreSigterm: true } });
    const worker = processOf(left);
    const taken = await next(left, { timeouts: { shutdown_ack: 50, kill: 100 } });
    await taken.shutDownWorker(left.workers[0]?.worker_id ?? '');
    await taken.until((workers) => workers.length === 0);
    expect(isRunning(worker)).toBe(false);
  });

  it('are seen to end by themselves, and known to have crashed', async () => {
    const left = await killedHive();
    const id = left.workers[0]?.worker_id ?? '';
    const taken = await next(left);
    process.kill(processOf(left).pid, 'SIGKILL');
    await taken.until((workers) => workers.length === 0);
    expect(await taken.worker(id)).toMatchObject({ state: 'failed', last_error: { code: 'WORKER_CRASHED' } });
  });

  it('are asked what they did meanwhile, as long as they are looked after', async () => {
    const left = await killedHive();
    const [worker = { url: '' }] = left.workers;
    const tell = (body: object) => fetch(`${worker.url}/test`, { method: 'POST', body: JSON.stringify(body) });
    await tell({ jobs: 1, unheard: true });
    const before = Date.now();
    await tell({ jobs: 0, unheard: true });
    const taken = await next(left, { timeouts: { health_poll: 100 } });
    const [found] = await taken.workers();
    expect(Date.parse(found?.last_job_ended_at ?? '')).toBeGreaterThanOrEqual(before);
    // The address that the worker reports to is that of the killed hive.
    await taken.tell(worker, { jobs: 2, unheard: true });
    await taken.until(([one]) => one?.state === 'busy');
  });

  it('are taken over while they load, and followed to the end', async () => {
    const left = await killedHive({ script: { stuckAtLayer: 2 } });
    const id = left.workers[0]?.worker_id ?? '';
    const taken = await next(left, { timeouts: { model_load: 500 } });
    expect(await taken.workers()).toMatchObject([{ id, state: 'loading' }]);
    expect((await taken.startEvents(id)).at(-1)).toMatchObject({
      code: 'LOADING_TIMEOUT',
      details: { layers_loaded: 2 },
    });
  });

  it.each<[string, (left: Left) => void]>([
    ['without a key file', (left) => rmSync(recordFile(left).replace('.json', '.key'))],
    [
      'with another key',
      (left) => writeFileSync(recordFile(left).replace('.json', '.key'), 'another-key-of-some-length\n'),
    ],
    [
      'with a record of an older version',
      (left) => {
        const { takeover: _takeover, ...older } = readRecord(left);
        writeFileSync(recordFile(left), JSON.stringify(older));
      },
    ],
  ])('are ended %s', async (_what, spoil) => {
    const left = await killedHive();
    const worker = processOf(left);
    spoil(left);
    const taken = await next(left);
    expect(await taken.workers()).toEqual([]);
    expect(await waitUntilGone(worker, systemClock, 5_000)).toBe(true);
  });

  it('are left alone under a pid that now belongs to another process', async () => {
    const left = await killedHive();
    const worker = processOf(left);
    writeFileSync(
      recordFile(left),
      JSON.stringify({ ...readRecord(left), process: { pid: worker.pid, startTime: '1' } }),
    );
    const taken = await next(left);
    expect(await taken.workers()).toEqual([]);
    // Something new is started only after the leftovers were dealt with.
    await taken.ready();
    expect(isRunning(worker)).toBe(true);
    expect(existsSync(recordFile(left))).toBe(false);
    process.kill(worker.pid, 'SIGKILL');
  });

  it('belong to one of two hives that start at the same time', async () => {
    const left = await killedHive();
    const hives = await Promise.all([TestHive.start({ home: left.home }), TestHive.start({ home: left.home })]);
    const lists = await Promise.all(hives.map((one) => one.workers()));
    expect(lists.map(({ length }) => length).sort()).toEqual([0, 1]);
    const owner = hives.find((_one, index) => lists[index]?.length === 1);
    for (const one of hives) if (one !== owner) await one.stop(true);
    expect(await owner?.workers()).toMatchObject([{ id: left.workers[0]?.worker_id, state: 'idle' }]);
    await owner?.stop();
  });

  it('are left alone by a hive that does not get its port', async () => {
    const left = await killedHive();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port } = squatter.address() as AddressInfo;
    const before = readRecord(left);
    await expect(TestHive.start({ home: left.home, config: { port } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect(readRecord(left)).toEqual(before);
    await new Promise((resolve) => squatter.close(resolve));
    const taken = await next(left);
    expect(await taken.workers()).toHaveLength(1);
  });

  it('are left alone while their own hive runs', async () => {
    const first = await TestHive.start();
    const { worker_id } = await first.ready();
    const second = await TestHive.start({ home: first.home });
    expect(await second.workers()).toEqual([]);
    await second.stop(true);
    expect(await first.workers()).toMatchObject([{ id: worker_id, state: 'idle' }]);
    await first.stop();
  });
});
