import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError } from '@rbee/protocol';
import { type QueuePosition, type SlotLease, WorkerSlots } from './worker-slots.js';

function build(capacity: Record<string, number | undefined>, queueLength = 3) {
  const clock = new ManualClock();
  const slots = new WorkerSlots({ clock, queueLength, capacityOf: (id) => capacity[id] });
  const positions: Record<string, number[]> = {};
  const etas: Record<string, (number | undefined)[]> = {};
  const granted: string[] = [];
  const leases: Record<string, SlotLease> = {};
  const refused: Record<string, string> = {};
  const aborts: Record<string, AbortController> = {};
  let tickets = 0;
  const take = (name: string, worker = 'w', timeoutMs = 1_000, ticket = ++tickets) => {
    const abort = new AbortController();
    aborts[name] = abort;
    const onPosition = ({ position, etaMs }: QueuePosition) => {
      positions[name] = [...(positions[name] ?? []), position];
      etas[name] = [...(etas[name] ?? []), etaMs];
    };
    const taken = Promise.resolve().then(() =>
      slots.take(worker, { ticket, signal: abort.signal, timeoutMs, onPosition }),
    );
    taken.then(
      (lease) => {
        granted.push(name);
        leases[name] = lease;
      },
      (error: RbeeError) => {
        refused[name] = error.code;
      },
    );
    return new Promise<void>((resolve) => setImmediate(resolve));
  };
  return { clock, slots, capacity, take, positions, etas, granted, leases, refused, aborts };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('WorkerSlots', () => {
  it('lends free slots at once, and no more than there are', async () => {
    const { slots, take, granted, positions } = build({ w: 2 });
    await take('a');
    await take('b');
    await take('c');
    expect(granted).toEqual(['a', 'b']);
    expect(positions).toEqual({ c: [1] });
    expect(slots.usage('w')).toMatchObject({ inFlight: 2, waiting: 1 });
  });

  it('serves those who wait in the order in which they came, and tells each when it moves up', async () => {
    const { take, granted, leases, positions, slots, clock } = build({ w: 1 });
    for (const name of ['a', 'b', 'c', 'd']) await take(name);
    expect(positions).toEqual({ b: [1], c: [2], d: [3] });
    leases.a?.release();
    await turn();
    leases.b?.release();
    await turn();
    expect(granted).toEqual(['a', 'b', 'c']);
    expect(positions).toEqual({ b: [1], c: [2, 1], d: [3, 2, 1] });
    leases.c?.release();
    await turn();
    leases.d?.release();
    expect(slots.usage('w')).toMatchObject({ inFlight: 0, waiting: 0 });
    expect(clock.pending).toBe(0);
  });

  it('lets nobody overtake: a newcomer waits even in the moment in which a slot is free', async () => {
    const { take, granted, capacity, slots } = build({ w: 0 });
    await take('a');
    capacity.w = 1;
    await take('b');
    expect(granted).toEqual([]);
    slots.settle();
    await turn();
    expect(granted).toEqual(['a']);
  });

  it('puts a task that came earlier and is placed anew before those that came later', async () => {
    const { take, granted, leases, positions } = build({ w: 1 });
    for (const name of ['a', 'b']) await take(name);
    await take('earlier', 'w', 1_000, 0.5);
    expect(positions).toEqual({ b: [1], earlier: [1] });
    leases.a?.release();
    await turn();
    expect(granted).toEqual(['a', 'earlier']);
  });

  it('refuses whoever would be one too many, and says when to come back', async () => {
    const { take, refused, slots } = build({ w: 1 }, 2);
    for (const name of ['a', 'b', 'c', 'd']) await take(name);
    expect(refused).toEqual({ d: 'QUEUE_FULL' });
    expect(() => slots.checkQueue('w')).toThrow(RbeeError);
    try {
      slots.checkQueue('w');
    } catch (error) {
      expect((error as RbeeError).details).toMatchObject({ waiting: 2, retry_after_seconds: 1 });
    }
  });

  it('estimates the wait from the jobs that have ended', async () => {
    const { take, leases, etas, clock } = build({ w: 1 });
    await take('a');
    await clock.advance(4_000);
    leases.a?.release();
    await take('b');
    await take('c');
    await take('d');
    expect(etas).toEqual({ c: [4_000], d: [8_000] });
  });

  it('takes a place back when its task is aborted, and lets the others move up', async () => {
    const { take, refused, positions, aborts, slots } = build({ w: 1 });
    for (const name of ['a', 'b', 'c']) await take(name);
    aborts.b?.abort(new RbeeError('CANCELLED', 'no longer wanted'));
    await turn();
    expect(refused).toEqual({ b: 'CANCELLED' });
    expect(positions.c).toEqual([2, 1]);
    expect(slots.usage('w')).toMatchObject({ inFlight: 1, waiting: 1 });
  });

  it('gives up after the time limit, with the figures', async () => {
    const { take, refused, clock } = build({ w: 1 });
    await take('a');
    await take('b', 'w', 500);
    await clock.advance(499);
    expect(refused).toEqual({});
    await clock.advance(1);
    expect(refused).toEqual({ b: 'ALL_SLOTS_BUSY' });
    expect(clock.pending).toBe(0);
  });

  it('sends those who wait away when the worker goes', async () => {
    const { take, refused, capacity, slots, leases } = build({ w: 1 });
    for (const name of ['a', 'b', 'c']) await take(name);
    capacity.w = undefined;
    slots.settle();
    await turn();
    expect(refused).toEqual({ b: 'WORKER_NOT_FOUND', c: 'WORKER_NOT_FOUND' });
    leases.a?.release();
    expect(slots.usage('w')).toMatchObject({ inFlight: 0, waiting: 0 });
    await take('d');
    expect(refused.d).toBe('WORKER_NOT_FOUND');
  });

  it('counts a slot that is given back twice once', async () => {
    const { take, leases, granted } = build({ w: 1 });
    for (const name of ['a', 'b', 'c']) await take(name);
    leases.a?.release();
    leases.a?.release();
    await turn();
    expect(granted).toEqual(['a', 'b']);
  });
});
