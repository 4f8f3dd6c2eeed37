import { type IncomingHttpHeaders, request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SseDecoder } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { type JobScript, ScriptedWorker, say } from './testing/scripted-worker.js';
import { type SentEvent, TestQueen } from './testing/test-queen.js';
import { Watch } from './testing/watch.js';

/** A task of a client at an address of its own. */
interface Asked {
  readonly id: string;
  status: number | undefined;
  headers: IncomingHttpHeaders;
  readonly events: SentEvent[];
  /** The body of an answer that is no stream. */
  body: string;
  ended: boolean;
}

describe('the queue of the queen', () => {
  let hive: ScriptedHive;
  let queen: TestQueen;
  let watch: Watch;
  const workers: ScriptedWorker[] = [];

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    watch = new Watch();
  });
  afterEach(async () => {
    await queen.stop();
    await hive.stop();
    workers.length = 0;
  });

  async function begin(count: number, settings: { queueLength: number }, script: JobScript): Promise<void> {
    for (let index = 0; index < count; index++) {
      const worker = await hive.addWorker(new ScriptedWorker(4));
      worker.script = script;
      workers.push(worker);
    }
    queen = await TestQueen.start({ hivePort: hive.port, settings });
    await queen.untilStates(...workers.map(() => 'idle'));
  }

  /** Posts a task from an address of its own; 127.0.0.1 is where the queen is. */
  function ask(address: string, id: string, fields: object = {}): Asked {
    const asked: Asked = { id, status: undefined, headers: {}, events: [], body: '', ended: false };
    const { port } = new URL(queen.url);
    const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
    const call = request({
      host: '127.0.0.1',
      port,
      path: '/v2/tasks',
      method: 'POST',
      headers,
      localAddress: address,
    });
    call.once('response', (response) => {
      asked.status = response.statusCode;
      asked.headers = response.headers;
      const decoder = new SseDecoder();
      response.on('data', (chunk: Buffer) => {
        if (asked.status !== 200) asked.body += chunk.toString();
        else
          for (const { data } of decoder.push(chunk))
            asked.events.push(data === '[DONE]' ? { type: data } : JSON.parse(data));
        watch.touch();
      });
      response.once('end', () => {
        asked.ended = true;
        watch.touch();
      });
      watch.touch();
    });
    call.end(JSON.stringify({ prompt: 'hello', job_id: id, ...fields }));
    return asked;
  }

  const has = ({ events }: Asked, type: string) => events.some((event) => event.type === type);
  const positions = ({ events }: Asked) =>
    events.filter(({ type }) => type === 'queued').map(({ position }) => Number(position));
  const isOver = ({ ended }: Asked) => ended;

  /** A script that lets one job after the other go on when it is told to. */
  function gate() {
    const waiting: (() => void)[] = [];
    let isOpen = false;
    const script: JobScript = async (job) => {
      if (!isOpen) await new Promise<void>((resolve) => waiting.push(resolve));
      await say(['a'])(job);
    };
    const open = () => {
      isOpen = true;
      for (const each of waiting.splice(0)) each();
    };
    return { script, open, next: () => waiting.shift()?.() };
  }

  it('serves 200 clients at one worker with four slots, or tells them when to come back', async () => {
    const { script, open } = gate();
    let most = 0;
    await begin(1, { queueLength: 100 }, async (job) => {
      most = Math.max(most, workers[0]?.jobs.size ?? 0);
      await script(job);
    });
    const asked = Array.from({ length: 200 }, (_, index) => ask(`127.0.1.${index + 1}`, `job-${index}`));
    await watch.until(() => asked.every((each) => isOver(each) || has(each, 'queued') || has(each, 'started')));
    const refused = asked.filter(({ status }) => status === 503);
    const served = asked.filter(({ status }) => status === 200);
    expect([served.length, refused.length]).toEqual([104, 96]);
    for (const { body, headers } of refused) {
      const { error } = JSON.parse(body);
      expect(error).toMatchObject({ code: 'QUEUE_FULL', details: { bound: 'queue', waiting: 100, limit: 100 } });
      expect(headers['retry-after']).toBe(String(error.details.retry_after_seconds));
    }
    open();
    await watch.until(() => asked.every(isOver));
    for (const each of served) {
      expect(each.events.slice(-2).map(({ type }) => type)).toEqual(['end', '[DONE]']);
      const told = positions(each);
      expect(told).toEqual([...new Set(told)].sort((a, b) => b - a));
      // No worker had to say that it is busy.
      expect(each.events.some(({ action }) => action === 'retry')).toBe(false);
    }
    expect(most).toBe(4);
    expect(served.filter((each) => positions(each).length > 0)).toHaveLength(100);
  });

  it('lets a client with a hundred tasks delay one with a single task by one task at most', async () => {
    const { script, next, open } = gate();
    await begin(1, { queueLength: 256 }, script);
    const [worker] = workers as [ScriptedWorker];
    const many = Array.from({ length: 100 }, (_, index) => ask('127.0.1.1', `many-${index}`));
    await watch.until(() => many.filter((each) => has(each, 'queued')).length === 96);
    const single = ask('127.0.1.2', 'single');
    await watch.until(() => has(single, 'queued'));
    expect(positions(single)).toEqual([1]);
    next();
    await watch.until(() => has(single, 'started'));
    expect(worker.asked).toHaveLength(5);
    expect(worker.asked[4]).toBe('single');
    open();
    await watch.until(() => isOver(single) && many.every(isOver));
    for (const each of many) expect(each.events.at(-2)?.type).toBe('end');
  });

  it('leaves half of the queue to others than one client', async () => {
    const { script, open } = gate();
    await begin(1, { queueLength: 10 }, script);
    const many = Array.from({ length: 12 }, (_, index) => ask('127.0.1.1', `many-${index}`));
    await watch.until(() => many.every((each) => isOver(each) || has(each, 'queued') || has(each, 'started')));
    const refused = many.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(3);
    expect(JSON.parse(refused[0]?.body ?? '').error.details).toMatchObject({ bound: 'client', waiting: 5, limit: 5 });
    const other = ask('127.0.1.2', 'other');
    await watch.until(() => has(other, 'queued'));
    open();
    await watch.until(() => isOver(other) && many.every(isOver));
  });

  it('serves interactive tasks before batch tasks, and lists where each stands', async () => {
    const { script, next, open } = gate();
    await begin(1, { queueLength: 256 }, script);
    const [worker] = workers as [ScriptedWorker];
    const first = Array.from({ length: 4 }, (_, index) => ask('127.0.1.1', `first-${index}`));
    await watch.until(() => first.every((each) => has(each, 'started')));
    const batch = ask('127.0.1.2', 'batch', { priority: 'batch' });
    await watch.until(() => has(batch, 'queued'));
    const urgent = ask('127.0.1.3', 'urgent');
    await watch.until(() => has(urgent, 'queued'));
    expect([positions(batch), positions(urgent)]).toEqual([[1], [1]]);
    const { body } = await queen.json('GET', '/v2/tasks?state=queued');
    expect(body.tasks).toHaveLength(2);
    expect(body.tasks).toContainEqual(expect.objectContaining({ job_id: 'batch', state: 'queued', priority: 'batch' }));
    expect(body.tasks).toContainEqual(expect.objectContaining({ job_id: 'urgent', state: 'queued', position: 1 }));
    next();
    await watch.until(() => has(urgent, 'started'));
    next();
    await watch.until(() => has(batch, 'started'));
    expect(worker.asked.slice(4)).toEqual(['urgent', 'batch']);
    open();
    await watch.until(() => [...first, batch, urgent].every(isOver));
  });

  it('spreads ten clients over three idle workers, and gives whatever becomes free to whoever waits', async () => {
    const { script, open } = gate();
    await begin(3, { queueLength: 256 }, script);
    const asked = Array.from({ length: 10 }, (_, index) => ask(`127.0.1.${index + 1}`, `job-${index}`));
    await watch.until(() => asked.every((each) => has(each, 'started')));
    expect(workers.map(({ jobs }) => jobs.size).sort()).toEqual([3, 3, 4]);
    const more = Array.from({ length: 5 }, (_, index) => ask(`127.0.2.${index + 1}`, `more-${index}`));
    await watch.until(() => more.every((each) => has(each, 'started') || has(each, 'queued')));
    expect(more.filter((each) => has(each, 'queued'))).toHaveLength(3);
    open();
    await watch.until(() => [...asked, ...more].every(isOver));
    for (const { events } of [...asked, ...more]) expect(events.at(-2)?.type).toBe('end');
  });

  it('takes the last of four slots once when two come at the same time', async () => {
    const { script, next, open } = gate();
    await begin(1, { queueLength: 256 }, script);
    const [worker] = workers as [ScriptedWorker];
    const first = Array.from({ length: 3 }, (_, index) => ask('127.0.1.1', `first-${index}`));
    await watch.until(() => first.every((each) => has(each, 'started')));
    const two = [ask('127.0.1.2', 'one'), ask('127.0.1.3', 'other')];
    await watch.until(() => two.some((each) => has(each, 'started')) && two.some((each) => has(each, 'queued')));
    expect(worker.jobs.size).toBe(4);
    next();
    await watch.until(() => two.every((each) => has(each, 'started')));
    expect([worker.jobs.size, worker.asked.length]).toEqual([4, 5]);
    open();
    await watch.until(() => [...first, ...two].every(isOver));
  });
});
