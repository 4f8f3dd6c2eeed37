import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger, systemClock } from '@rbee/daemon-kit';
import { VERSION } from '@rbee/protocol';
import type { NodeRecord } from './registry/node-record.js';
import { NodeRegistry } from './registry/node-registry.js';
import { ScriptedHive } from './testing/scripted-hive.js';
import { hang, ScriptedWorker } from './testing/scripted-worker.js';
import { TestQueen } from './testing/test-queen.js';

describe('the queen beside a hive that an operator started', () => {
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let queen: TestQueen;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker(4));
    queen = await TestQueen.start({ hivePort: hive.port });
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('says that it is well', async () => {
    for (const path of ['/health', '/v1/health']) {
      expect((await queen.json('GET', path)).body).toEqual({ status: 'ok', version: VERSION, pid: process.pid });
    }
  });

  it('lists the workers at the first request already', async () => {
    const { body } = await queen.json('GET', '/v2/workers/list');
    expect(body.workers).toEqual([
      {
        worker_id: worker.id,
        node: 'localhost',
        url: worker.url,
        model_ref: 'builtin:honeycomb',
        state: 'idle',
        backend: 'cpu',
        device: 0,
        slots_total: 4,
        slots_available: 4,
        capabilities: ['cpu:0'],
        models_loaded: ['builtin:honeycomb'],
        rbee_hive_url: `http://127.0.0.1:${hive.port}`,
        pinned: false,
        last_heartbeat_unix: expect.any(Number),
      },
    ]);
  });

  it.each([
    ['?node=localhost', 1],
    ['?capability=cpu', 1],
    ['?capability=cpu:0', 1],
    ['?capability=cpu:1', 0],
    ['?capability=cuda', 0],
  ])('filters the workers by %s', async (query, count) => {
    expect((await queen.json('GET', `/v2/workers/list${query}`)).body.workers).toHaveLength(count);
  });

  it('keeps up with the changes that the hive reports', async () => {
    await queen.json('GET', '/v2/workers/list');
    hive.setState(worker.id, 'busy');
    await queen.untilStates('busy');
    await hive.addWorker(new ScriptedWorker(), { state: 'loading' });
    await queen.untilStates('busy', 'loading');
    hive.remove(worker.id);
    await queen.untilStates('loading');
    await hive.crash();
    await queen.untilStates();
  });

  it('tells how well the workers are', async () => {
    const ill = await hive.addWorker(new ScriptedWorker(), { state: 'unhealthy' });
    const { body } = await queen.json('GET', '/v2/workers/health?node=localhost');
    expect(body).toEqual({
      status: 'degraded',
      workers: [
        { worker_id: worker.id, state: 'idle', ready: true },
        { worker_id: ill.id, state: 'unhealthy', ready: false },
      ],
    });
  });

  it.each(['/v2/workers/list', '/v2/workers/health', '/v2/logs'])('%s knows no other node', async (path) => {
    const { status, body } = await queen.json('GET', `${path}?node=workstation`);
    expect([status, body.error.code]).toEqual([404, 'NODE_NOT_FOUND']);
  });

  it('has a worker stopped by the hive that owns it', async () => {
    const { status, body } = await queen.json('POST', '/v2/workers/shutdown', { worker_id: worker.id });
    expect([status, body]).toEqual([200, { success: true, message: `stopping ${worker.id}` }]);
    expect(worker.state).toBe('draining');
  });

  it('says that a worker is unknown', async () => {
    const { status, body } = await queen.json('POST', '/v2/workers/shutdown', { worker_id: 'worker-x' });
    expect([status, body.error.code]).toEqual([404, 'WORKER_NOT_FOUND']);
    expect(body.error.message).toContain('worker-x');
  });

  it('passes the logs of the node on', async () => {
    const response = await queen.call('GET', '/v2/logs?node=localhost&lines=7');
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toBe('the last 7 lines, follow false\n');
  });

  it('holds a lease as long as the client does, and ends it on request', async () => {
    const lease = await queen.stream('POST', '/v2/leases');
    const leased = await lease.until('leased');
    expect(leased).toMatchObject({ version: VERSION, pid: process.pid, ephemeral: false });
    const { body } = await queen.json('DELETE', `/v2/leases/${leased.lease_id}`);
    expect(body).toEqual({ ending: false });
    expect((await lease.all).map(({ type }) => type)).toEqual(['leased', 'end', '[DONE]']);
  });

  it('refuses a task that finds no place in the queue, and says when to come back', async () => {
    const small = await TestQueen.start({ hivePort: hive.port, settings: { queueLength: 1 } });
    try {
      worker.script = hang(['a']);
      const running = [];
      for (let index = 0; index < 4; index++) running.push(await small.task());
      for (const each of running) await each.until('token');
      const waiting = await small.task();
      await waiting.until('queued');
      const response = await small.call('POST', '/v2/tasks', {
        body: { prompt: 'p' },
        headers: { Accept: 'text/event-stream' },
      });
      const body = (await response.json()) as { error: { code: string; aliases?: string[] } };
      expect([response.status, body.error.code, body.error.aliases]).toEqual([503, 'QUEUE_FULL', undefined]);
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    } finally {
      await small.stop();
    }
  });
});

describe('the queen with registered nodes', () => {
  let folder: string;
  let queen: TestQueen;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'queen-nodes-'));
    const database = join(folder, 'beehives.db');
    const hive = await new ScriptedHive().start();
    const { port: deadPort } = hive;
    await hive.stop();
    const registry = NodeRegistry.open({ file: database, clock: systemClock, log: silentLogger });
    await registry.add(registered('attic', 'unreachable.home.arpa'));
    await registry.add(registered('bench', 'bench.home.arpa'));
    await registry.close();
    const settings = { database, mockHiveUrl: `http://127.0.0.1:${deadPort}` };
    queen = await TestQueen.start({ hivePort: deadPort, settings, variables: { RBEE_NO_RETRY: '1' } });
  });
  afterEach(async () => {
    await queen.stop();
    rmSync(folder, { recursive: true });
  });

  it('does not call a node well that cannot be reached', async () => {
    const { status, body } = await queen.json('GET', '/v2/workers/health?node=attic');
    expect([status, body.error?.code]).toEqual([503, 'CONNECTION_TIMEOUT']);
    expect(body.error.message).toContain('attic cannot be reached: no SSH connection');
    expect(body.error.details.suggestion).toContain('rbee-keeper hive status --node attic');
    expect((await queen.json('GET', '/v2/workers/health')).status).toBe(200);
    expect((await queen.json('GET', '/v2/workers/health?node=bench')).body).toEqual({ status: 'ok', workers: [] });
  });

  it('lists the error of a node that is away, and none of one whose hive just does not run', async () => {
    await queen.json('GET', '/v2/hives/list');
    const { nodes } = (await queen.json('GET', '/v2/registry/beehives/list')).body;
    expect(nodes).toMatchObject([
      { node_name: 'attic', status: 'unreachable', last_error: expect.stringContaining('no SSH connection') },
      { node_name: 'bench', status: 'reachable', live: { hive: 'stopped', reason: 'no hive runs there' } },
    ]);
    expect(nodes[1].last_error).toBeUndefined();
  });
});

/** A node that was reached before. */
function registered(name: string, host: string): NodeRecord {
  return {
    name,
    ssh: { host, port: undefined, user: undefined, keyPath: undefined },
    direct: undefined,
    hostKeys: {},
    gitRepoUrl: undefined,
    gitBranch: 'main',
    installPath: '/home/me/rbee',
    nodePath: undefined,
    hivePort: 9200,
    backends: ['cpu'],
    devices: { cpu: 1 },
    status: 'reachable',
    lastConnectedUnix: 1,
    lastError: undefined,
    ownedHive: undefined,
  };
}

describe('the queen where no hive runs', () => {
  it('lists nothing and starts nothing for a list', async () => {
    const hive = await new ScriptedHive().start();
    const { port } = hive;
    await hive.stop();
    const queen = await TestQueen.start({ hivePort: port });
    try {
      expect((await queen.json('GET', '/v2/workers/list')).body).toEqual({ workers: [] });
      expect((await queen.json('GET', '/v2/workers/health')).body).toEqual({ status: 'ok', workers: [] });
      const { status, body } = await queen.json('GET', '/v2/logs');
      expect([status, body.error.code]).toEqual([503, 'CONNECTION_TIMEOUT']);
      expect(body.error.message).toContain(String(port));
      expect(body.error.details.suggestion).toContain('rbee-keeper hive start --node localhost');
      const events = await (await queen.task()).all;
      expect(events.at(-2)).toMatchObject({ type: 'error', code: 'HIVE_START_FAILED', status: 503 });
    } finally {
      await queen.stop();
    }
  });
});

describe('an ephemeral queen', () => {
  it('ends when its last client has left, and not before its task', async () => {
    const hive = await new ScriptedHive().start();
    const worker = await hive.addWorker(new ScriptedWorker());
    worker.script = hang(['a']);
    const queen = await TestQueen.start({ hivePort: hive.port, settings: { ephemeral: true } });
    try {
      const abort = new AbortController();
      const lease = await queen.stream('POST', '/v2/leases', undefined, { signal: abort.signal });
      await lease.until('leased');
      const answer = await queen.task({ job_id: 'j' });
      await answer.until('token');
      abort.abort();
      const second = await queen.stream('POST', '/v2/leases');
      const { lease_id } = await second.until('leased');
      expect((await queen.json('DELETE', `/v2/leases/${lease_id}`)).body).toEqual({ ending: false });
      await queen.call('DELETE', '/v2/tasks/j');
      await answer.all;
      expect(await queen.ended).toBe(0);
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });

  it('goes by the keep-alive that counts when its settings have changed', async () => {
    let keepAlive = 600_000;
    const settings = {
      ephemeral: true,
      get keepAlive() {
        return keepAlive;
      },
    };
    // Nothing listens there: no hive is needed.
    const queen = await TestQueen.start({ hivePort: 1, settings });
    try {
      const { lease_id } = await (await queen.stream('POST', '/v2/leases')).until('leased');
      expect((await queen.json('DELETE', `/v2/leases/${lease_id}`)).body).toEqual({ ending: false });
      keepAlive = 0;
      queen.noteSettings();
      expect(await queen.ended).toBe(0);
    } finally {
      await queen.stop();
    }
  });
});
