import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import fc from 'fast-check';
import { QueueBench, type TestTask } from './testing/queue-bench.js';

const outcomes = (...tasks: TestTask[]) => tasks.map(({ outcome }) => outcome).join(' ');

/** The error that something throws. */
function errorOf(work: () => void): RbeeError {
  try {
    work();
  } catch (error) {
    if (isRbeeError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('TaskQueue', () => {
  it('gives free slots at once, and no more than there are', async () => {
    const bench = new QueueBench();
    bench.worker('w', 2);
    const tasks = [await bench.come(), await bench.come(), await bench.come()];
    expect(outcomes(...tasks)).toBe('seated seated waiting');
    expect(tasks[2]?.positions).toEqual([1]);
    expect([bench.queue.usage('w').inFlight, bench.queue.size]).toEqual([2, 1]);
  });

  it('holds the last slot for the first of two that come at the same time', async () => {
    const bench = new QueueBench();
    bench.worker('w', 4);
    for (let index = 0; index < 3; index++) await bench.come();
    const [first, second] = [bench.task(), bench.task()];
    bench.queue.admit(first);
    bench.queue.admit(second);
    expect([bench.queue.usage('w').inFlight, bench.queue.size]).toEqual([4, 1]);
    bench.wait(second);
    bench.wait(first);
    await bench.turn();
    expect(outcomes(first, second)).toBe('seated waiting');
  });

  it('serves those who wait one after the other, and tells each when it moves up', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const [a, b, c, d] = [await bench.come(), await bench.come(), await bench.come(), await bench.come()];
    await bench.finish(a);
    await bench.finish(b);
    expect(outcomes(b, c, d)).toBe('seated seated waiting');
    expect([b.positions, c.positions, d.positions]).toEqual([[1], [2, 1], [3, 2, 1]]);
    await bench.finish(c);
    await bench.finish(d);
    expect([bench.queue.usage('w').inFlight, bench.queue.size, bench.clock.pending]).toEqual([0, 0, 0]);
  });

  it('spreads ten tasks over three idle workers, and binds none to a busy one', async () => {
    const bench = new QueueBench();
    for (const id of ['x', 'y', 'z']) bench.worker(id, 2);
    const tasks: TestTask[] = [];
    for (let index = 0; index < 10; index++) tasks.push(await bench.come(`client ${index}`));
    expect(['x', 'y', 'z'].map((id) => bench.queue.usage(id).inFlight)).toEqual([2, 2, 2]);
    // Whichever becomes free, the next one gets it.
    const atZ = tasks.filter(({ seat }) => seat?.workerId === 'z');
    for (const each of atZ) await bench.finish(each);
    expect(tasks.slice(6, 8).map(({ seat }) => seat?.workerId)).toEqual(['z', 'z']);
    expect(outcomes(...tasks.slice(8))).toBe('waiting waiting');
  });

  it('gives a slot to the first that it fits, past those that it does not', async () => {
    const bench = new QueueBench();
    bench.worker('x', 1, { node: 'n' });
    bench.worker('y', 1, { node: 'other', model_ref: 'hf:org/k' });
    const [holder, other] = [await bench.come(), await bench.come('b', { model: 'hf:org/k' })];
    const [first, second] = [await bench.come(), await bench.come('b', { model: 'hf:org/k' })];
    // Tasks that want something else are not in front of it.
    expect([first.positions, second.positions]).toEqual([[1], [1]]);
    await bench.finish(other);
    expect(outcomes(holder, first, second)).toBe('seated waiting seated');
  });

  it('lets a client with many tasks delay one with a single task by one', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const many = [];
    for (let index = 0; index < 50; index++) many.push(await bench.come('a'));
    const single = await bench.come('b');
    expect(single.positions).toEqual([1]);
    await bench.finish(many[0] as TestTask);
    expect(outcomes(single, many[1] as TestTask)).toBe('seated waiting');
    await bench.finish(single);
    // Nobody was told a worse place than before.
    for (const { positions } of many) expect(positions).toEqual([...positions].sort((a, b) => b - a));
  });

  it('serves interactive tasks before batch tasks, until those have waited long', async () => {
    const bench = new QueueBench({ ageingMs: 1_000 });
    bench.worker('w', 1);
    const running = await bench.come('a');
    const batch = await bench.come('b', { priority: 'batch' });
    const first = await bench.come('c');
    await bench.finish(running);
    expect(outcomes(batch, first)).toBe('waiting seated');
    await bench.clock.advance(1_000);
    const second = await bench.come('d');
    await bench.finish(first);
    expect(outcomes(batch, second)).toBe('seated waiting');
  });

  it('serves a task that lost its worker before those that came later, also past the bound', async () => {
    const bench = new QueueBench({ queueLength: 2 });
    bench.worker('w', 1);
    const lost = await bench.come('a');
    const later = await bench.come('b');
    const last = await bench.come('c');
    lost.seat?.lease.release();
    await bench.turn();
    bench.wait(lost);
    await bench.turn();
    expect(outcomes(lost, later, last)).toBe('waiting seated waiting');
    await bench.finish(later);
    expect(outcomes(lost, last)).toBe('seated waiting');
  });

  it('refuses what finds no place any more, and says when to come back', async () => {
    const bench = new QueueBench({ queueLength: 4 });
    bench.worker('w', 1);
    const first = await bench.come();
    await bench.clock.advance(7_500);
    await bench.finish(first);
    for (const client of ['a', 'a', 'b', 'c', 'c']) await bench.come(client);
    expect(errorOf(() => bench.queue.admit(bench.task('d')))).toMatchObject({
      code: 'QUEUE_FULL',
      message: 'the queue is full: 4 tasks wait already',
      details: { bound: 'queue', waiting: 4, limit: 4, retry_after_seconds: 8 },
    });
    expect(bench.queue.size).toBe(4);
  });

  it('leaves half of the places to others than one client', async () => {
    const bench = new QueueBench({ queueLength: 5 });
    bench.worker('w', 1);
    for (let index = 0; index < 3; index++) await bench.come('a');
    const tooMany = bench.task('a');
    expect(errorOf(() => bench.queue.admit(tooMany))).toMatchObject({
      code: 'QUEUE_FULL',
      details: { bound: 'client', client: 'a', waiting: 2, limit: 2 },
    });
    expect((await bench.come('b')).outcome).toBe('waiting');
  });

  it('says in words how few may wait', async () => {
    const bench = new QueueBench({ queueLength: 2 });
    bench.worker('w', 1);
    for (let index = 0; index < 2; index++) await bench.come('a');
    const { message } = errorOf(() => bench.queue.admit(bench.task('a'))) as Error;
    expect(message).toBe('the queue is full: 1 task of the same client waits already, half of all places');
  });

  it('takes in whoever can be served at once, however many wait for something else', async () => {
    const bench = new QueueBench({ queueLength: 1 });
    bench.worker('w', 1);
    bench.worker('k', 1, { model_ref: 'hf:org/k' });
    await bench.come();
    await bench.come();
    expect((await bench.come('a', { model: 'hf:org/k' })).outcome).toBe('seated');
  });

  it('refuses a task whose turn would come after its deadline', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const first = await bench.come();
    await bench.clock.advance(10_000);
    await bench.finish(first);
    await bench.come('a');
    await bench.come('a');
    const deadline = bench.clock.now() + 15_000;
    expect(errorOf(() => bench.queue.admit(bench.task('a', { deadline })))).toMatchObject({
      code: 'DEADLINE_UNREACHABLE',
      message: 'the task would start in about 20 s (place 2 in the queue), but its deadline is in 15 s',
      details: { position: 2, eta_ms: 20_000, remaining_ms: 15_000 },
    });
    expect(bench.queue.size).toBe(1);
    // Another client comes before the second task of the first one.
    expect((await bench.come('b', { deadline })).etas).toEqual([10_000]);
    expect((await bench.come('c', { deadline: deadline + 5_000 })).etas).toEqual([20_000]);
  });

  it('estimates the wait from the jobs that have ended', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const first = await bench.come();
    await bench.clock.advance(4_000);
    await bench.finish(first);
    await bench.come();
    const [second, third] = [await bench.come(), await bench.come()];
    expect([second.etas, third.etas]).toEqual([[4_000], [8_000]]);
    expect(second.reasons).toEqual(['the only slot of the worker is in use']);
  });

  it('takes a place back when its task is aborted, and lets the others move up', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const [a, b, c] = [await bench.come(), await bench.come(), await bench.come()];
    b.abort.abort(new RbeeError('CANCELLED', 'no longer wanted'));
    await bench.turn();
    expect(outcomes(a, b, c)).toBe('seated CANCELLED waiting');
    expect([c.positions, bench.queue.size]).toEqual([[2, 1], 1]);
    bench.wait(b);
    await bench.turn();
    expect([b.outcome, bench.queue.size]).toEqual(['CANCELLED', 1]);
  });

  it('gives a held slot to the next when its task ends without taking it', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const first = bench.task();
    bench.queue.admit(first);
    const second = await bench.come();
    expect(second.outcome).toBe('waiting');
    first.end();
    await bench.turn();
    expect([second.outcome, bench.queue.usage('w').inFlight]).toEqual(['seated', 1]);
  });

  it('gives up after the time limit, with the figures', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    await bench.come();
    const task = bench.task();
    let error: unknown;
    bench.queue.seat(task, { timeoutMs: 500, onPosition: () => undefined }).catch((caught: unknown) => {
      error = caught;
    });
    await bench.clock.advance(499);
    expect(error).toBeUndefined();
    await bench.clock.advance(1);
    expect(error).toMatchObject({
      code: 'ALL_SLOTS_BUSY',
      message: 'no slot of worker w became free within 500 ms',
      details: { worker_id: 'w', slots_total: 1, slots_busy: 1, waited_ms: 500 },
    });
    expect([bench.clock.pending, bench.queue.size]).toEqual([0, 0]);
  });

  it('sends those away who wait when no worker is left, to be placed anew', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const [running, waiting] = [await bench.come(), await bench.come()];
    bench.worker('w', 1, { state: 'draining' });
    await bench.turn();
    expect(outcomes(running, waiting)).toBe('seated anew');
    // It waits still, in its place, until it is told what to do.
    expect(bench.queue.size).toBe(1);
    bench.loseWorker('w');
    bench.worker('v', 1);
    bench.wait(waiting);
    await bench.turn();
    expect([waiting.outcome, waiting.seat?.workerId]).toEqual(['seated', 'v']);
    // The job on the worker that has gone is not counted anywhere else.
    await bench.finish(running);
    expect(bench.queue.usage('v').inFlight).toBe(1);
  });

  it('waits for an ill worker until it is well again', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1, { state: 'unhealthy' });
    const task = await bench.come();
    expect([task.outcome, task.reasons]).toEqual(['waiting', ['the worker does not answer its health checks']]);
    bench.worker('w', 1);
    await bench.turn();
    expect(task.outcome).toBe('seated');
  });

  it('ends the wait for a start when a slot becomes free elsewhere', async () => {
    const bench = new QueueBench();
    bench.worker('w', 1);
    const running = await bench.come();
    bench.starting.push({ key: 's', model: 'hf:org/m', backend: 'cpu', device: 0, worker: undefined });
    const task = bench.task();
    bench.queue.admit(task);
    let isAborted = false;
    const got = bench.queue.unlessSeated(
      task,
      (signal) =>
        new Promise<string>((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            isAborted = true;
            reject(signal.reason);
          });
        }),
    );
    await bench.turn();
    expect([isAborted, bench.queue.size]).toEqual([false, 1]);
    await bench.finish(running);
    expect([await got, isAborted]).toEqual([undefined, true]);
    bench.wait(task);
    await bench.turn();
    expect(task.outcome).toBe('seated');
  });

  it('seats those who waited for a start in fair order', async () => {
    const bench = new QueueBench();
    bench.starting.push({ key: 's', model: 'hf:org/m', backend: 'cpu', device: 0, worker: 'w' });
    bench.worker('w', 2);
    const tasks = [bench.task('a'), bench.task('a'), bench.task('b')];
    let finish: () => void = () => undefined;
    const started = new Promise<void>((resolve) => {
      finish = resolve;
    });
    for (const task of tasks) {
      bench.queue.admit(task);
      bench.queue.unlessSeated(task, () => started).then(() => bench.wait(task), fail);
    }
    await bench.turn();
    expect(bench.queue.size).toBe(3);
    bench.starting.length = 0;
    finish();
    await bench.turn();
    expect(outcomes(...tasks)).toBe('seated waiting seated');
  });

  it('passes on what a start failed with', async () => {
    const bench = new QueueBench();
    const task = bench.task();
    bench.queue.admit(task);
    const failure = new RbeeError('MODEL_NOT_FOUND', 'no such model');
    await expect(bench.queue.unlessSeated(task, () => Promise.reject(failure))).rejects.toBe(failure);
    // No word of it any more when it has its slot.
    bench.worker('w', 1);
    await expect(bench.queue.unlessSeated(task, () => Promise.reject(failure))).resolves.toBeUndefined();
  });

  it('keeps nothing of tasks that are over', async () => {
    const bench = new QueueBench();
    bench.worker('w', 4);
    const comeAndGo = async () => {
      const tasks: TestTask[] = [];
      for (let index = 0; index < 100; index++) tasks.push(await bench.come(`client ${index}`));
      tasks[50]?.abort.abort(new RbeeError('CANCELLED', 'no longer wanted'));
      for (const task of tasks) await bench.finish(task);
      return tasks.map((task) => new WeakRef(task));
    };
    const refs = await comeAndGo();
    await bench.turn();
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
    expect(refs.filter((ref) => ref.deref() !== undefined)).toHaveLength(0);
    expect([bench.queue.size, bench.clock.pending]).toEqual([0, 0]);
  });

  it('never takes more slots than there are, leaves none free that somebody waits for, and lets everybody go', async () => {
    const step = fc.oneof(
      fc.record({
        come: fc.constantFrom('a', 'b', 'c'),
        batch: fc.boolean(),
        node: fc.constantFrom(undefined, 'n', 'm'),
      }),
      fc.record({ finish: fc.nat(20) }),
      fc.record({ abort: fc.nat(20) }),
      fc.record({ lose: fc.nat(20) }),
      fc.record({ worker: fc.constantFrom('u', 'v', 'w'), slots: fc.integer({ min: 0, max: 3 }) }),
    );
    const home: Record<string, string> = { u: 'n', v: 'n', w: 'm' };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new QueueBench();
        bench.worker('u', 1, { node: 'n' });
        bench.worker('w', 1, { node: 'm' });
        const tasks: TestTask[] = [];
        const capacity = (id: string) => bench.workers.get(id)?.slots_total ?? 0;
        const pick = (index: number, state: string) => {
          const some = tasks.filter(({ outcome }) => outcome === state);
          return some[index % some.length];
        };
        const check = () => {
          const waiting = tasks.filter(({ outcome }) => outcome === 'waiting');
          for (const [id, { node }] of bench.workers) {
            const isFree = bench.queue.usage(id).inFlight < capacity(id);
            if (isFree) expect(waiting.filter(({ wanted }) => (wanted.node ?? node) === node)).toEqual([]);
          }
          for (const { positions } of tasks) expect(positions).toEqual([...new Set(positions)].sort((a, b) => b - a));
        };
        for (const each of steps) {
          if ('come' in each) {
            const { come, batch, node } = each;
            tasks.push(await bench.come(come, { priority: batch ? 'batch' : 'interactive', node }));
          } else if ('worker' in each) {
            const { worker, slots } = each;
            if (slots === 0) bench.loseWorker(worker);
            else bench.worker(worker, slots, { node: home[worker] ?? 'n' });
          } else if ('finish' in each) {
            const task = pick(each.finish, 'seated');
            if (task) {
              await bench.finish(task);
              task.outcome = 'ended';
            }
          } else if ('lose' in each) {
            const task = pick(each.lose, 'seated');
            task?.seat?.lease.release();
            if (task) bench.wait(task);
          } else pick(each.abort, 'waiting')?.abort.abort(new RbeeError('CANCELLED', 'no longer wanted'));
          await bench.turn();
          // What is to be placed anew waits again, as long as there is something to wait for.
          for (const task of tasks.filter(({ outcome }) => outcome === 'anew')) bench.wait(task);
          await bench.turn();
          check();
        }
        for (const task of tasks) task.abort.abort(new RbeeError('CANCELLED', 'over'));
        await bench.turn();
        for (const task of tasks) {
          task.seat?.lease.release();
          task.end();
        }
        await bench.turn();
        expect([bench.queue.size, bench.clock.pending]).toEqual([0, 0]);
        expect(['u', 'v', 'w'].map((id) => bench.queue.usage(id).inFlight)).toEqual([0, 0, 0]);
      }),
      { numRuns: 50 },
    );
  });

  it.each([1, 10])(
    'gives a slot on in less than 5 ms with 1,000 nodes and 1,000 tasks that want %i things',
    async (kinds) => {
      const bench = new QueueBench({ queueLength: 10_000 });
      for (let index = 0; index < 1_000; index++) {
        bench.add(`w${index}`, 1, { node: `n${index}`, model_ref: `hf:org/m${index % kinds}` });
      }
      const tasks = Array.from({ length: 2_000 }, (_, index) =>
        bench.task(`client ${index % 50}`, { model: `hf:org/m${index % kinds}` }),
      );
      for (const task of tasks) bench.queue.unlessSeated(task, () => new Promise(() => undefined)).catch(fail);
      bench.queue.settle();
      expect(bench.queue.size).toBe(1_000);
      const times = tasks.slice(0, 300).flatMap((task) => {
        const [startedAt, before] = [performance.now(), process.cpuUsage()];
        bench.queue.leave(task);
        const { user, system } = process.cpuUsage(before);
        // The first is too much while the machine is busy, the second while memory is collected beside it.
        return [performance.now() - startedAt, (user + system) / 1_000];
      });
      // Each that leaves makes room for another one, whose turn it is.
      expect(bench.queue.size).toBeLessThan(1_000);
      expect(Math.min(...times)).toBeLessThan(5);
    },
  );
});

function fail(error: unknown): void {
  throw error;
}
