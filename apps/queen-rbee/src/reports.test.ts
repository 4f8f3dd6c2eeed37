import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ScriptedHive } from './testing/scripted-hive.js';
import { ScriptedWorker } from './testing/scripted-worker.js';
import { TestQueen } from './testing/test-queen.js';

const HIVE_URL = 'http://attic.example:9200';

function report(id: string, more: object = {}) {
  const place = { node_name: 'attic', rbee_hive_url: HIVE_URL, url: 'http://127.0.0.1:1' };
  return { worker_id: id, model_ref: 'hf:org/repo', backend: 'cuda', device: 1, slots_total: 4, ...place, ...more };
}

let hive: ScriptedHive;
let queen: TestQueen;

async function start(heartbeat_stale: number): Promise<void> {
  hive = await new ScriptedHive().start();
  queen = await TestQueen.start({ hivePort: hive.port, timeouts: { heartbeat_stale, health_call: 100 } });
}

afterEach(async () => {
  await queen.stop();
  await hive.stop();
});

const list = async (query = '') => (await queen.json('GET', `/v2/workers/list${query}`)).body.workers;
const ids = async () => (await list()).map(({ worker_id }: { worker_id: string }) => worker_id).sort();

describe('a worker that a hive reports', () => {
  beforeEach(() => start(60_000));

  it.each(['/v2/workers/register', '/v1/workers/register'])('is listed after %s', async (path) => {
    const { status, body } = await queen.json('POST', path, report('w-1'));
    expect([status, body]).toEqual([201, { success: true, message: expect.any(String), worker_id: 'w-1' }]);
    expect(await list('?capability=cuda')).toEqual([
      {
        worker_id: 'w-1',
        node: 'attic',
        url: 'http://127.0.0.1:1',
        model_ref: 'hf:org/repo',
        state: 'loading',
        backend: 'cuda',
        device: 1,
        slots_total: 4,
        slots_available: 0,
        capabilities: ['cuda:1'],
        models_loaded: [],
        rbee_hive_url: HIVE_URL,
        last_heartbeat_unix: expect.any(Number),
      },
    ]);
    expect(await list('?capability=cpu')).toEqual([]);
  });

  it('may be reported again by its hive, which leaves its state', async () => {
    await queen.json('POST', '/v2/workers/register', report('w-1'));
    await queen.json('PATCH', '/v2/workers/w-1', { state: 'busy' });
    expect((await queen.json('POST', '/v2/workers/register', report('w-1', { slots_total: 2 }))).status).toBe(200);
    expect(await list()).toMatchObject([{ state: 'busy', slots_total: 2 }]);
  });

  it('belongs to the first of three hives that claim its id at once', async () => {
    const claims = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        queen.json(
          'POST',
          '/v2/workers/register',
          report('w-1', { node_name: name, rbee_hive_url: `http://${name}:9200` }),
        ),
      ),
    );
    expect(claims.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
    const refused = claims.find(({ status }) => status === 409);
    expect(refused?.body.error).toMatchObject({ code: 'WORKER_ALREADY_REGISTERED', details: { worker_id: 'w-1' } });
    expect(await ids()).toEqual(['w-1']);
  });

  it('is ready with its callback, known or not', async () => {
    await queen.json('POST', '/v2/workers/register', report('w-1'));
    const { node_name, rbee_hive_url, ...bare } = report('w-1');
    expect((await queen.json('POST', '/v1/orchestrator/worker-ready', bare)).status).toBe(200);
    expect((await queen.json('POST', '/v2/workers/ready', report('w-2'))).status).toBe(200);
    expect(await list()).toMatchObject([
      { worker_id: 'w-1', node: node_name, rbee_hive_url, state: 'idle', slots_total: 4, slots_available: 4 },
      { worker_id: 'w-2', state: 'idle' },
    ]);
    const { status, body } = await queen.json('POST', '/v2/workers/ready', { ...bare, worker_id: 'w-3' });
    expect([status, body.error.code]).toEqual([400, 'INVALID_REQUEST']);
  });

  it('has the state of the last change, never a mixture', async () => {
    await queen.json('POST', '/v2/workers/register', report('w-1'));
    const changes = Array.from({ length: 40 }, (_, index) =>
      index % 2 === 0
        ? queen.json('PATCH', '/v2/workers/w-1', { state: 'busy', slots_available: 0 })
        : queen.json('POST', '/v2/workers/w-1/heartbeat', { state: 'idle', slots_available: 4 }),
    );
    for (const { status } of await Promise.all(changes)) expect(status).toBe(200);
    const [worker] = await list();
    expect([
      ['busy', 0],
      ['idle', 4],
    ]).toContainEqual([worker.state, worker.slots_available]);
    await queen.json('PATCH', '/v2/workers/w-1', { state: 'draining' });
    expect(await list()).toMatchObject([{ state: 'draining' }]);
  });

  it('goes when its hive says so', async () => {
    await queen.json('POST', '/v2/workers/register', report('w-1'));
    for (let again = 0; again < 2; again++) expect((await queen.call('DELETE', '/v2/workers/w-1')).status).toBe(204);
    expect(await ids()).toEqual([]);
    const { status, body } = await queen.json('POST', '/v2/workers/w-1/heartbeat', { state: 'idle' });
    expect([status, body.error.code]).toEqual([404, 'WORKER_NOT_FOUND']);
  });

  it('is one of ten that are registered at once', async () => {
    const names = Array.from({ length: 10 }, (_, index) => `w-${index}`);
    await Promise.all(names.map((id) => queen.json('POST', '/v2/workers/register', report(id))));
    expect(await ids()).toEqual(names);
  });

  it('is not taken from the hive that the queen follows itself', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    await queen.untilStates('idle');
    expect((await queen.json('POST', '/v2/workers/register', report(worker.id))).status).toBe(409);
    const own = report(worker.id, { node_name: 'localhost' });
    expect((await queen.json('POST', '/v2/workers/register', own)).status).toBe(200);
    await queen.json('PATCH', `/v2/workers/${worker.id}`, { state: 'busy', slots_available: 0 });
    expect(await list()).toMatchObject([{ worker_id: worker.id, node: 'localhost', state: 'busy' }]);
    hive.setState(worker.id, 'idle');
    await queen.untilStates('idle');
  });
});

describe('a worker of which nothing is heard any more', () => {
  beforeEach(() => start(200));

  const until = async (check: () => Promise<boolean>) => {
    while (!(await check()));
  };

  it('is forgotten, and one that answers stays', async () => {
    const alive = await new ScriptedWorker().start();
    await queen.json('POST', '/v2/workers/register', report('alive', { url: alive.url }));
    await queen.json('POST', '/v2/workers/register', report('gone'));
    await until(async () => !(await ids()).includes('gone'));
    expect(await ids()).toEqual(['alive']);
    await alive.crash();
    await until(async () => (await ids()).length === 0);
  });

  it('is not lost when it is registered while it is being forgotten', async () => {
    await queen.json('POST', '/v2/workers/register', report('w-1'));
    // Looks come every 50 ms, and each of them takes its time to ask; a registration in between must count.
    const beats = Array.from({ length: 40 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * 25));
      return (await queen.json('POST', '/v2/workers/register', report('w-1'))).status;
    });
    const statuses = await Promise.all(beats);
    // 201 would say that it was away in between.
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await ids()).toEqual(['w-1']);
  });

  it('of a hive that is followed keeps its job, gets no new one, and goes with it', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    let finish: () => void = () => undefined;
    worker.script = async ({ stream }) => {
      stream.send({ type: 'token', t: 'Once', i: 0, ids: [1] });
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      stream.send({ type: 'end', tokens_out: 1, decode_time_ms: 1, stop_reason: 'EOS' } as never);
    };
    const answer = await queen.task();
    await answer.until('token');
    worker.deafToLooks = true;
    await queen.untilStates('stale-but-busy');
    const { body } = await queen.json('GET', '/v2/workers/health');
    expect(body.status).toBe('degraded');
    finish();
    await answer.all;
    await queen.untilStates();
  });
});
