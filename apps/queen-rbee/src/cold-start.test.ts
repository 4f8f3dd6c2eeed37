import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { ScriptedWorker, say } from './testing/scripted-worker.js';
import { TestQueen } from './testing/test-queen.js';

describe('a task for which no worker runs', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    queen = await TestQueen.start({ hivePort: hive.port, timeouts: { ready_poll: 20 } });
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
  });

  it('checks the hive, has a worker started, shows how it loads, and goes on there', async () => {
    hive.load = async (send) => {
      send({
        type: 'narration',
        actor: 'rbee-hive',
        action: 'worker_start',
        target: 'w',
        human: 'starting',
        level: 'info',
      } as never);
      send({ type: 'progress', phase: 'load', stage: 'loading_to_vram', layers_loaded: 3, layers_total: 9 } as never);
    };
    const answer = await queen.task({ job_id: 'cold' }, { headers: { 'X-Correlation-Id': 'corr-2' } });
    const events = await answer.all;
    const told = events.map(({ type, action }) => action ?? type);
    expect(told).toEqual([
      'accepted',
      'task_accepted',
      'hive_preflight',
      'hive_preflight',
      'hive_preflight',
      'worker_spawn',
      'worker_start',
      'progress',
      'worker_spawn',
      'worker_assigned',
      'worker',
      'started',
      'token',
      'token',
      'end',
      '[DONE]',
    ]);
    expect(events.find(({ type }) => type === 'worker')).toMatchObject({
      reused: false,
      state: 'idle',
      node: 'localhost',
    });
    expect(events.find(({ type }) => type === 'progress')).toMatchObject({
      phase: 'load',
      layers_loaded: 3,
      layers_total: 9,
    });
    for (const event of events.filter(({ type }) => type === 'narration')) expect(event.correlation_id).toBe('corr-2');
    const kind = { model: 'builtin:honeycomb', backend: 'cpu', device: 0, pinned: false };
    expect(hive.spawned).toEqual([{ ...kind, or_replacement: true }]);
    expect(hive.correlationIds).toEqual(['corr-2']);
    for (const name of ['health', 'listWorkers', 'listBackends', 'listWorkerBinaries', 'resources']) {
      expect(hive.calls.indexOf(name)).toBeGreaterThanOrEqual(0);
      expect(hive.calls.indexOf(name)).toBeLessThan(hive.calls.indexOf('spawnWorker'));
    }
  });

  it('is warm the second time', async () => {
    await (await queen.task()).all;
    const events = await (await queen.task()).all;
    expect(events.find(({ type }) => type === 'worker')).toMatchObject({ reused: true });
    expect(hive.spawned).toHaveLength(1);
  });

  it('shares one start between tasks that need the same worker', async () => {
    let loaded = () => {};
    hive.load = () => new Promise((resolve) => (loaded = resolve));
    const first = await queen.task();
    await hive.watch.until(() => hive.calls.includes('workerEvents'));
    const others = await Promise.all([queen.task({ device: 0 }), queen.task({ model: 'builtin:honeycomb:q4_k_m' })]);
    for (const other of others) {
      const waits = () => other.events.some(({ action }) => action === 'worker_spawn');
      while (!waits()) await new Promise((resolve) => setImmediate(resolve));
    }
    loaded();
    const all = await Promise.all([first, ...others].map(({ all }) => all));
    for (const events of all) {
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      expect(events.find(({ type }) => type === 'worker')).toMatchObject({ reused: false });
    }
    expect(hive.spawned).toHaveLength(1);
  });

  it('starts workers for different models side by side', async () => {
    const tasks = await Promise.all([queen.task({ model: 'file:/a.gguf' }), queen.task({ model: 'file:/b.gguf' })]);
    for (const task of tasks) expect((await task.all).at(-2)).toMatchObject({ type: 'end' });
    expect(hive.spawned.map(({ model }) => model).sort()).toEqual(['file:/a.gguf', 'file:/b.gguf']);
  });

  it('waits for a worker that somebody else is starting', async () => {
    const worker = new ScriptedWorker();
    worker.state = 'loading';
    await hive.addWorker(worker, { state: 'loading' });
    const events = await (await queen.task()).all;
    expect(events.find(({ type }) => type === 'worker')).toMatchObject({ worker_id: worker.id, reused: false });
    expect(hive.spawned).toEqual([]);
  });

  it('confirms with the worker itself that it takes jobs', async () => {
    let worker: ScriptedWorker | undefined;
    hive.makeWorker = () => {
      worker = new ScriptedWorker();
      return worker;
    };
    const answer = await queen.task();
    await answer.all;
    expect(worker?.asked).toHaveLength(1);
  });

  it('ends with the coded error of the hive, unchanged', async () => {
    hive.spawnError = new RbeeError('BACKEND_UNAVAILABLE', 'metal is not there, cpu is', {
      details: { requested: 'metal', available: ['cpu'] },
      suggestion: '--backend cpu',
    });
    const events = await (await queen.task({ backend: 'metal' })).all;
    expect(events.at(-2)).toMatchObject({
      type: 'error',
      code: 'BACKEND_UNAVAILABLE',
      status: 503,
      details: { requested: 'metal', available: ['cpu'], suggestion: '--backend cpu' },
    });
    expect(hive.spawned).toHaveLength(1);
  });

  it('ends with what the load failed with', async () => {
    hive.load = async () => {
      throw new RbeeError('MODEL_LOAD_FAILED', 'not a model');
    };
    const events = await (await queen.task()).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'MODEL_LOAD_FAILED' });
  });

  const killed = (worker_id: string, exit: { exit_code: number | null; signal: string | null }) =>
    new RbeeError('WORKER_STARTUP_FAILED', `the worker ended with ${exit.signal ?? exit.exit_code}`, {
      details: { worker_id, phase: 'loading', ...exit },
    });
  /** Has as many workers killed while they load. */
  const killWhileLoading = (count: number) => {
    hive.load = async () => {
      const worker = [...hive.held.values()].at(-1)?.worker;
      if (count-- > 0 && worker) throw killed(worker.id, { exit_code: null, signal: 'SIGKILL' });
    };
  };

  it('has another worker started when the first one is killed while it loads', async () => {
    killWhileLoading(1);
    const answers = [await queen.task(), await queen.task()];
    for (const { all } of answers) {
      const events = await all;
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      expect(events.filter(({ type }) => type === 'token')).toHaveLength(2);
      expect(events.filter(({ human }) => /^starting another worker/.test(String(human)))).toMatchObject([
        { action: 'worker_spawn', level: 'warn', human: expect.stringContaining('SIGKILL') },
      ]);
    }
    expect(hive.spawned).toHaveLength(2);
  });

  it('ends when the other worker is killed as well', async () => {
    killWhileLoading(9);
    expect((await (await queen.task()).all).at(-2)).toMatchObject({ type: 'error', code: 'WORKER_STARTUP_FAILED' });
    expect(hive.spawned).toHaveLength(2);
  });

  it('ends when the worker has ended by itself while it loaded', async () => {
    hive.load = async () => {
      throw killed(hive.worker.id, { exit_code: 1, signal: null });
    };
    expect((await (await queen.task()).all).at(-2)).toMatchObject({ type: 'error', code: 'WORKER_STARTUP_FAILED' });
    expect(hive.spawned).toHaveLength(1);
  });

  it('has one started in place of a worker of somebody else that is killed while it loads', async () => {
    killWhileLoading(1);
    const worker = await hive.addWorker(new ScriptedWorker(), { state: 'loading' });
    await queen.untilStates('loading');
    const events = await (await queen.task()).all;
    expect(events.at(-2)).toMatchObject({ type: 'end' });
    expect(worker.asked).toEqual([]);
    expect(hive.spawned).toHaveLength(1);
  });

  describe('on a hive whose connections break', () => {
    /** Breaks so many calls of a route in the middle; what was there before goes on. */
    const breakOff = (name: string, count: number) => {
      hive.breaks.set(name, count);
    };

    it.each(['resources', 'spawnWorker', 'workerEvents', 'getWorker'])('in %s, is placed anew', async (name) => {
      breakOff(name, 3);
      const events = await (await queen.task()).all;
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      expect(events.filter(({ action }) => action === 'retry').length).toBeGreaterThanOrEqual(1);
      expect(hive.breaks.get(name)).toBeLessThan(3);
    });

    it.each(['resources', 'spawnWorker', 'workerEvents'])('in %s, always, ends soon', async (name) => {
      breakOff(name, 999);
      const events = await (await queen.task()).all;
      expect(events.at(-2)).toMatchObject({ type: 'error', details: { node: 'localhost', losses: 6 } });
      expect(JSON.stringify(events.at(-2))).toContain('rbee-keeper logs --node localhost');
      expect(hive.breaks.get(name)).toBeGreaterThan(900);
    });
  });

  it('tells each task that shared a failed start about its own request', async () => {
    let failed = () => {};
    hive.load = () =>
      new Promise((_resolve, reject) => {
        failed = () => reject(new RbeeError('MODEL_LOAD_FAILED', 'not a model'));
      });
    const first = await queen.task({}, { headers: { 'X-Correlation-Id': 'corr-a' } });
    await hive.watch.until(() => hive.calls.includes('workerEvents'));
    const second = await queen.task({}, { headers: { 'X-Correlation-Id': 'corr-b' } });
    const held = queen.call('POST', '/v2/tasks', {
      body: { prompt: 'hello' },
      headers: { 'X-Correlation-Id': 'corr-c' },
    });
    while (!second.events.some(({ action }) => action === 'worker_spawn')) await new Promise(setImmediate);
    // The held one has no event to wait for: any later answer of the queen shows that it has been taken.
    await queen.json('GET', '/health');
    failed();
    expect((await first.all).at(-2)).toMatchObject({ code: 'MODEL_LOAD_FAILED', correlation_id: 'corr-a' });
    expect((await second.all).at(-2)).toMatchObject({ code: 'MODEL_LOAD_FAILED', correlation_id: 'corr-b' });
    const { error } = (await (await held).json()) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: 'MODEL_LOAD_FAILED', correlation_id: 'corr-c' });
    expect(hive.spawned).toHaveLength(1);
  });

  it('ends when the hive has another version', async () => {
    hive.version = '0.2.0';
    const events = await (await queen.task()).all;
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'VERSION_MISMATCH', status: 409 });
    expect(events.at(-2)?.message).toContain('0.2.0');
    expect(events.at(-2)?.message).toContain('0.1.0');
  });

  it('finds the hive again after it was restarted', async () => {
    await (await queen.task()).all;
    const { port } = hive;
    await hive.stop();
    hive = await new ScriptedHive().start(port);
    const events = await (await queen.task()).all;
    expect(events.at(-2)).toMatchObject({ type: 'end' });
    expect(hive.spawned).toHaveLength(1);
  });

  it('has a hive started anew when that one dies while the worker loads', async () => {
    hive.load = async () => {
      void hive.crash();
      await new Promise(() => undefined);
    };
    const events = await (await queen.task()).all;
    // The program that this queen starts hives with ends at once: it was tried, instead of the dead hive once more.
    expect(events.at(-2)).toMatchObject({ type: 'error', code: 'HIVE_START_FAILED' });
    expect(events.filter(({ action }) => action === 'retry')).toHaveLength(1);
  });
});

describe('a worker that never finishes loading', () => {
  it('ends the task with the state and the layer it is stuck at', async () => {
    const hive = await new ScriptedHive().start();
    hive.load = async (send) => {
      send({ type: 'progress', phase: 'load', stage: 'loading_to_vram', layers_loaded: 28, layers_total: 32 } as never);
      await new Promise(() => undefined);
    };
    const queen = await TestQueen.start({ hivePort: hive.port, timeouts: { model_load: 100, ready_poll: 20 } });
    try {
      const events = await (await queen.task()).all;
      expect(events.at(-2)).toMatchObject({
        type: 'error',
        code: 'LOADING_TIMEOUT',
        status: 408,
        details: { state: 'loading', layers_loaded: 28, layers_total: 32 },
      });
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});

describe('a hive that does not answer a spawn', () => {
  it('ends the task with WORKER_SPAWN_FAILED', async () => {
    const hive = await new ScriptedHive().start();
    hive.makeWorker = () => {
      const worker = new ScriptedWorker();
      worker.start = () => new Promise(() => undefined);
      return worker;
    };
    const queen = await TestQueen.start({ hivePort: hive.port, timeouts: { spawn_answer: 250 } });
    try {
      const { status, body } = await queen.json('POST', '/v2/tasks', { prompt: 'p' });
      expect([status, body.error.code]).toEqual([500, 'WORKER_SPAWN_FAILED']);
      hive.makeWorker = () => new ScriptedWorker();
      expect((await (await queen.task()).all).at(-2)).toMatchObject({ type: 'end' });
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});

describe('many tasks at once on a cold node', () => {
  it('share the worker, as many as it has slots at a time, in the order in which they came', async () => {
    const hive = await new ScriptedHive().start();
    hive.makeWorker = () => {
      const worker = new ScriptedWorker(2);
      worker.script = say(['x']);
      return worker;
    };
    const queen = await TestQueen.start({ hivePort: hive.port });
    try {
      const ids = Array.from({ length: 9 }, (_, index) => `job-${index}`);
      const answers = [];
      for (const job_id of ids) answers.push(await queen.task({ job_id }));
      for (const answer of answers) expect((await answer.all).at(-2)).toMatchObject({ type: 'end' });
      expect(hive.spawned).toHaveLength(1);
      expect(hive.worker.asked).toEqual(ids);
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});
