import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, silentLogger, systemClock } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, taskRequestSchema } from '@rbee/protocol';
import { LocalHiveKey } from '../link/local-hive-key.js';
import { LocalLink } from '../link/local-link.js';
import { ModelSupply } from '../models/model-supply.js';
import { LiveNode } from '../node/live-node.js';
import { Nodes } from '../node/nodes.js';
import { lookAtNodes } from '../placement/look-at-nodes.js';
import { TaskQueue } from '../queue/task-queue.js';
import { brokeOff } from '../ssh/ssh-errors.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
import { ScriptedLink } from '../testing/scripted-link.js';
import { hang, recite, ScriptedWorker, say } from '../testing/scripted-worker.js';
import { Watch } from '../testing/watch.js';
import { WorkerStarter } from '../worker/worker-starter.js';
import { WorkerStarts } from '../worker/worker-starts.js';
import { textOf } from './collect-answer.js';
import { Task } from './task.js';
import { TaskLog } from './task-log.js';
import { TaskRunner } from './task-runner.js';

const peer = { host: 'far.example', port: 22 };
const closed = brokeOff('far', peer, 'CLOSED');
const silent = brokeOff('far', peer, 'ETIMEDOUT', 3_750);

describe('a task on a node whose connection is lost', () => {
  // Whoever waits for a cancellation that nobody answers is still there when the test is over.
  const timeouts = { ...DEFAULT_TIMEOUTS, cancel_ack: 60_000, connect: 200, ssh_connect: 1_000 };
  const client = new AbortController();
  let hive: ScriptedHive;
  let worker: ScriptedWorker;
  let link: ScriptedLink;
  let nodes: Nodes;
  let runner: TaskRunner;
  let watch: Watch;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    worker = await hive.addWorker(new ScriptedWorker());
    watch = new Watch();
    const parts = { log: silentLogger, timeouts, variables: { RBEE_NO_JITTER: '1' } };
    const clock = systemClock;
    const onChange = () => {
      queue.settle();
      watch.touch();
    };
    const hiveCommand = { command: 'false', args: [], variables: {}, outputFile: '/dev/null' };
    const hiveKey = new LocalHiveKey({ configured: undefined, stateFolder: '/nothing-here' });
    const local = new LocalLink({ clock, log: silentLogger, timeouts, hivePort: 1, hiveKey, hiveCommand });
    nodes = new Nodes(new LiveNode({ ...parts, link: local, onChange }), silentLogger);
    link = new ScriptedLink('ssh', 'far', hive.port);
    nodes.add(new LiveNode({ ...parts, link, onChange }));
    const supply = new ModelSupply({ ...parts, clock, nodes, send: async () => undefined });
    const mayWaitForRoom = () => false;
    const starter = new WorkerStarter({
      ...{ clock, log: silentLogger, timeouts, supply, mayWaitForRoom, signal: client.signal },
    });
    const starts = new WorkerStarts(starter);
    const queue = new TaskQueue({
      clock,
      queueLength: 4,
      ageingMs: timeouts.batch_ageing,
      look: (usage) => lookAtNodes({ nodes, starts }, usage),
      hasWorker: () => true,
    });
    runner = new TaskRunner({ ...parts, clock, nodes, queue, starts });
  });
  afterEach(async () => {
    nodes.close();
    await Promise.all(nodes.all().map((node) => node.link.close()));
    await hive.stop();
  });

  /** Runs a task; resolves with its text, or with the error that ends it. */
  async function run(
    onToken: () => void = () => undefined,
    onTask: (task: Task) => void = () => undefined,
  ): Promise<string | RbeeError | undefined> {
    const request = taskRequestSchema.parse({ node: 'far', prompt: 'p' });
    const fields = { id: 'j', ticket: 1, correlationId: 'c', deadline: undefined, client: '127.0.0.1' };
    const task = new Task({ ...fields, request, clock: systemClock, log: silentLogger });
    const output = new TaskLog({ run: 1 });
    const relay = output.relay.bind(output);
    output.relay = (message, kind, signal) => {
      relay(message, kind, signal);
      if (kind === 'token') onToken();
      return undefined;
    };
    onTask(task);
    try {
      await runner.run(task, output);
      output.commit();
      return textOf(output.answer());
    } catch (error) {
      if (isRbeeError(error)) return error;
      throw error;
    } finally {
      task.end();
    }
  }

  it('ends at once after its first token: nobody there confirms anything any more', async () => {
    await watch.until(() => nodes.get('far').worker(worker.id) !== undefined);
    worker.script = hang(['a']);
    worker.deaf = true;
    const lose = () => {
      link.lose(silent);
      worker.dropConnections();
    };
    expect(await run(() => setImmediate(lose))).toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      details: { node: 'far', tokens_out: 1 },
    });
  });

  const WORDS = Array.from({ length: 20 }, (_, index) => ` word${index}`);
  /** Loses the machine while the answer comes; whether it comes back is up to `then`. */
  const loseInside = async (then: () => void) => {
    await watch.until(() => nodes.get('far').worker(worker.id) !== undefined);
    worker.promptIds = [1, 2];
    worker.script = async (job) => {
      worker.script = recite(WORDS);
      const act = () => {
        link.lose(silent);
        worker.dropConnections();
        then();
      };
      await recite(WORDS, { at: 12, act })(job);
    };
  };

  it('goes on there when the machine comes back, although not at once', async () => {
    let attempts = 0;
    await loseInside(() => {
      link.onReach = () => {
        if (++attempts === 4) link.reachError = undefined;
      };
    });
    expect(await run()).toBe(WORDS.join(''));
    expect(worker.asked).toEqual(['j', 'j']);
  });

  it('ends soon, with the reason, when the machine stays away', async () => {
    await loseInside(() => undefined);
    const before = performance.now();
    expect(await run()).toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      details: { tokens_out: 12, resume: 'RESUME_IMPOSSIBLE', resume_reason: 'far cannot be reached any more' },
    });
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  describe('before its first token', () => {
    const refused = new RbeeError('SSH_CONNECTION_TIMEOUT', 'no SSH connection to far after 3 attempts', {
      details: { attempts: 3, cause: 'ECONNREFUSED' },
    });
    /** Loses the machine with the job; it lets nobody in until so many attempts were made. */
    const loseBefore = async (attempts: number) => {
      await watch.until(() => nodes.get('far').worker(worker.id) !== undefined);
      worker.script = async () => {
        worker.script = say(['b']);
        link.lose(closed);
        link.reachError = refused;
        link.onReach = () => {
          if (--attempts === 0) link.reachError = undefined;
        };
        worker.dropConnections();
        await new Promise(() => undefined);
      };
    };

    it('is placed anew when the machine comes back', async () => {
      await loseBefore(4);
      expect(await run()).toBe('b');
      expect(worker.asked).toEqual(['j', 'j']);
    });

    it('ends soon, with what stands in the way, when the machine stays away', async () => {
      await loseBefore(9_999);
      const before = performance.now();
      expect(await run()).toBe(refused);
      expect(performance.now() - before).toBeLessThan(5_000);
    });
  });

  it('ends at once on a machine that was not there from the beginning', async () => {
    await watch.until(() => nodes.get('far').standing.hive === 'running');
    link.lose(closed);
    let attempts = 0;
    link.onReach = () => attempts++;
    link.reachError = new RbeeError('SSH_CONNECTION_TIMEOUT', 'no SSH connection', { details: { attempts: 3 } });
    expect(await run()).toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT', details: { attempts: 3 } });
    expect(attempts).toBeLessThanOrEqual(2);
  });

  it('leaves a machine that does not answer within 100 ms when it is cancelled', async () => {
    await watch.until(() => nodes.get('far').standing.hive === 'running');
    link.lose(silent);
    let cancelledAt = 0;
    const reason = new RbeeError('CANCELLED', 'no longer wanted');
    link.reach = () => new Promise(() => undefined);
    const cancelSoon = (task: Task) => {
      link.reach = () => {
        setImmediate(() => {
          cancelledAt = performance.now();
          task.cancel(reason);
        });
        return new Promise(() => undefined);
      };
    };
    expect(await run(undefined, cancelSoon)).toBe(reason);
    expect(performance.now() - cancelledAt).toBeLessThan(100);
  });

  const loseStart = async (reason: RbeeError) => {
    const { port } = hive;
    await hive.stop();
    await watch.until(() => nodes.get('far').standing.hive !== 'running');
    link.start = async () => {
      link.start = async () => {
        hive = new ScriptedHive();
        await hive.addWorker(worker);
        await hive.start(port);
        const health = await link.findHive();
        if (!health) throw new Error('the hive does not answer');
        return health;
      };
      throw reason;
    };
  };

  it('does not notice that it was closed while the hive was started', async () => {
    await watch.until(() => nodes.get('far').standing.hive === 'running');
    worker = new ScriptedWorker();
    worker.script = say(['b']);
    await loseStart(closed);
    expect(await run()).toBe('b');
  });

  it('ends with the reason when it went silent while the hive was started', async () => {
    await watch.until(() => nodes.get('far').standing.hive === 'running');
    worker = new ScriptedWorker();
    await loseStart(silent);
    expect(await run()).toBe(silent);
  });
});
