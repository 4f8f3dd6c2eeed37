import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { callJson } from '@rbee/daemon-kit';
import { hiveRoutes } from '@rbee/protocol';
import { TestHive } from '../../test/test-hive.js';

let hive: TestHive;
beforeEach(async () => {
  hive = await TestHive.start({ timeouts: { idle_worker: 300 } });
});
afterEach(() => hive.stop());

const pin = (worker_id: string, pinned: boolean) =>
  callJson(hive.target, hiveRoutes.pinWorker, { params: { worker_id }, body: { pinned } });
const recordOf = (workerId: string) =>
  JSON.parse(readFileSync(join(hive.home, '.rbee/run/workers', `${workerId}.json`), 'utf8'));
const untilOnly = (...ids: string[]) =>
  hive.until((workers) => workers.map(({ id }) => id).join() === ids.join() && workers.every(({ pid }) => pid));

describe('a pinned worker', () => {
  it('stays when others end because they are idle, until it is let go', async () => {
    const { worker_id: kept } = await hive.ready({ pinned: true });
    await hive.ready();
    // The other one came later, and has gone: the time of this one is over as well.
    await expect(untilOnly(kept)).resolves.toMatchObject([{ pinned: true, state: 'idle' }]);
    expect(recordOf(kept)).toMatchObject({ takeover: { pinned: true } });
    await expect(pin(kept, false)).resolves.toMatchObject({ id: kept, pinned: false });
    await untilOnly();
  });

  it('is one from the moment on in which it was pinned, also for a later hive', async () => {
    const { worker_id: kept } = await hive.ready();
    await pin(kept, true);
    expect(recordOf(kept)).toMatchObject({ takeover: { pinned: true } });
    await pin(kept, true);
    await hive.ready();
    await untilOnly(kept);
  });

  it('still stays when a job of it has ended', async () => {
    const worker = await hive.ready({ pinned: true });
    await hive.tell(worker, { jobs: 1 });
    await hive.tell(worker, { jobs: 0 });
    await hive.ready();
    await untilOnly(worker.worker_id);
  });

  it('ends on request, and does not come back', async () => {
    const { worker_id } = await hive.ready({ pinned: true });
    await hive.shutDownWorker(worker_id);
    await untilOnly();
    const log = readFileSync(join(hive.home, '.rbee/logs/rbee-hive.log'), 'utf8');
    expect(log).not.toContain('worker_restart');
  });
});

describe('a pin', () => {
  it('is refused while the worker is asked to end because it is idle', async () => {
    await hive.stop();
    hive = await TestHive.start({ timeouts: { idle_worker: 100 }, script: { ignoreShutdown: true } });
    const { worker_id } = await hive.ready();
    const log = join(hive.home, '.rbee/logs', `${worker_id}.log`);
    while (!readFileSync(log, 'utf8').includes('shutdown_ignored'))
      await new Promise((resolve) => setImmediate(resolve));
    await expect(pin(worker_id, true)).rejects.toMatchObject({ code: 'WORKER_DRAINING' });
  });

  it('is refused for a worker that ends, one that there is not, and one of somebody else', async () => {
    await expect(pin('worker-none', true)).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
    const body = { worker_id: 'worker-foreign', url: 'http://127.0.0.1:1', model_ref: 'builtin:honeycomb' };
    await callJson(hive.target, hiveRoutes.workerReady, { body: { ...body, backend: 'cpu', device: 0 } });
    await expect(pin('worker-foreign', true)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const worker = await hive.ready({ pinned: true });
    await hive.tell(worker, { jobs: 1 });
    await hive.shutDownWorker(worker.worker_id);
    await expect(pin(worker.worker_id, false)).rejects.toMatchObject({ code: expect.stringMatching(/^WORKER_/) });
  });
});
