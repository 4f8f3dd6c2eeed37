import { beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError, type SpawnAnswer, type SpawnRequest } from '@rbee/protocol';
import type { WorkerLoss } from './restart-policy.js';
import type { Worker } from './worker.js';
import { WorkerRestarts } from './worker-restarts.js';

/** As much of a worker as restarts look at. */
class Fake {
  readonly said: string[] = [];
  readonly spec = { slots: 3, contextSize: 256 };
  restarts = 0;
  starting = false;
  loss: WorkerLoss | undefined;
  constructor(
    readonly id: string,
    readonly pinned: boolean,
    readonly failed = false,
    readonly readySince: number | undefined = undefined,
  ) {}
  readonly identity = { modelRef: 'builtin:honeycomb', backend: 'cpu', device: 0 };
  say(_action: string, human: string): void {
    this.said.push(human);
  }
  continues(restarts: number): void {
    this.restarts = restarts;
  }
  get worker(): Worker {
    return this as unknown as Worker;
  }
}

let clock: ManualClock;
let spawned: { at: number; request: SpawnRequest }[];
let next: (() => Fake | RbeeError) | undefined;
const fakes = new Map<string, Fake>();

const build = (enabled: boolean) =>
  new WorkerRestarts({
    ...{ clock, enabled, log: silentLogger, waitMs: 1000, random: () => 0.5 },
    spawn: async (request) => {
      spawned.push({ at: clock.now(), request });
      const answer = next?.() ?? new Fake(`worker-${spawned.length}`, request.pinned);
      if (answer instanceof RbeeError) throw answer;
      fakes.set(answer.id, answer);
      return { worker_id: answer.id, state: 'idle', events_url: '' } as SpawnAnswer;
    },
    find: (id) => fakes.get(id)?.worker,
  });
const waits = (from: number) => spawned.map(({ at }, index) => at - (spawned[index - 1]?.at ?? from));

beforeEach(() => {
  clock = new ManualClock();
  spawned = [];
  next = undefined;
  fakes.clear();
});

describe('a lost worker', () => {
  it('is replaced by one of the same kind, which counts its predecessors', async () => {
    const restarts = build(true);
    restarts.take(new Fake('worker-0', false).worker, 'crash');
    await clock.advance(1000);
    const { request } = spawned[0] ?? {};
    expect(request).toEqual({
      ...{ model: 'builtin:honeycomb', backend: 'cpu', device: 0 },
      ...{ slots_total: 3, context_size: 256, pinned: false },
    });
    expect(fakes.get('worker-1')?.restarts).toBe(1);
    restarts.take(fakes.get('worker-1')?.worker as Worker, 'crash');
    await clock.advance(2000);
    expect(fakes.get('worker-2')?.restarts).toBe(2);
    expect(clock.pending).toBe(0);
  });

  it('is tried three times in all when the starts fail', async () => {
    const start = clock.now();
    next = () => new RbeeError('INSUFFICIENT_RAM', 'no memory');
    const lost = new Fake('worker-0', true);
    build(false).take(lost.worker, 'crash');
    await clock.advance(600_000);
    expect(waits(start)).toEqual([1000, 2000, 4000]);
    expect(lost.said.at(-1)).toMatch(/not started again: .* 3 times/);
    expect(clock.pending).toBe(0);
  });

  it('is tried again when its successor fails before it was known as such', async () => {
    let first = true;
    next = () => {
      const failed = first;
      first = false;
      return new Fake(failed ? 'worker-failed' : 'worker-well', false, failed);
    };
    build(true).take(new Fake('worker-0', false).worker, 'crash');
    await clock.advance(10_000);
    expect(fakes.get('worker-well')?.restarts).toBe(2);
  });

  it('whose engine stood still is replaced also where crashes are left alone, and in spite of a failed start', async () => {
    const start = clock.now();
    let failures = 1;
    next = () => (failures-- > 0 ? new RbeeError('INSUFFICIENT_RAM', 'not yet') : new Fake('worker-well', false));
    const restarts = build(false);
    restarts.take(new Fake('worker-0', false).worker, 'canary');
    await clock.advance(60_000);
    expect(waits(start)).toEqual([0, 2000]);
    restarts.take(fakes.get('worker-well')?.worker as Worker, 'crash');
    await clock.advance(60_000);
    expect(spawned).toHaveLength(2);
  });

  it('whose first start failed is left to whoever asked for it', async () => {
    build(true).take(new Fake('worker-0', true).worker, 'start');
    await clock.advance(60_000);
    expect(spawned).toEqual([]);
  });

  it.each<[string, (restarts: WorkerRestarts) => void]>([
    ['was stopped meanwhile', (restarts) => restarts.giveUp('worker-0')],
    ['had a hive that ends', (restarts) => restarts.close()],
  ])('stays away when it %s', async (_what, stop) => {
    const restarts = build(true);
    restarts.take(new Fake('worker-0', false).worker, 'crash');
    stop(restarts);
    await clock.advance(60_000);
    expect(spawned).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('a request for a worker of a kind that was lost', () => {
  const wanted: SpawnRequest = {
    ...{ model: 'builtin:honeycomb', backend: 'cpu', device: undefined, slots_total: undefined },
    ...{ context_size: undefined, pinned: false, or_replacement: true },
  };

  it('begins the start that waits for its time, and does not begin another', async () => {
    const restarts = build(true);
    restarts.take(new Fake('worker-0', false).worker, 'crash');
    const answer = await restarts.join(wanted, []);
    expect(answer).toMatchObject({ worker_id: 'worker-1' });
    expect(fakes.get('worker-1')?.restarts).toBe(1);
    expect(spawned[0]?.request).toMatchObject({ slots_total: 3, context_size: 256 });
    await clock.advance(60_000);
    expect(spawned).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it('joins the start that has begun, until its worker takes jobs', async () => {
    next = () => Object.assign(new Fake('worker-1', false), { starting: true });
    const restarts = build(false);
    restarts.take(new Fake('worker-0', false).worker, 'canary');
    await clock.advance(0);
    for (let times = 0; times < 2; times++) {
      expect(await restarts.join(wanted, [])).toMatchObject({ worker_id: 'worker-1' });
    }
    Object.assign(fakes.get('worker-1') as Fake, { starting: false });
    expect(restarts.join(wanted, [])).toBeUndefined();
    expect(spawned).toHaveLength(1);
  });

  it('replaces a worker whose engine stands still while that is on its way out', async () => {
    const lost = Object.assign(new Fake('worker-0', false), { loss: 'canary' as const });
    const restarts = build(false);
    expect(await restarts.join(wanted, [lost.worker])).toMatchObject({ worker_id: 'worker-1' });
    restarts.take(lost.worker, 'canary');
    await clock.advance(60_000);
    expect(spawned).toHaveLength(1);
    expect(fakes.get('worker-1')?.restarts).toBe(1);
  });

  it('hears what the start failed with, which is tried again all the same', async () => {
    let failures = 1;
    next = () => (failures-- > 0 ? new RbeeError('INSUFFICIENT_RAM', 'not yet') : new Fake('worker-well', false));
    const restarts = build(true);
    restarts.take(new Fake('worker-0', false).worker, 'crash');
    await expect(restarts.join(wanted, [])).rejects.toMatchObject({ code: 'INSUFFICIENT_RAM' });
    await clock.advance(10_000);
    expect(fakes.get('worker-well')?.restarts).toBe(2);
    expect(clock.pending).toBe(0);
  });

  it.each<[string, Partial<SpawnRequest>]>([
    ['wants one more', { or_replacement: undefined }],
    ['wants another model', { model: 'builtin:other' }],
    ['wants another backend', { backend: 'cuda' }],
    ['wants another device', { device: 1 }],
    ['wants other slots', { slots_total: 1 }],
    ['wants another context', { context_size: 512 }],
  ])('is a start of its own when it %s', async (_what, change) => {
    const restarts = build(true);
    restarts.take(new Fake('worker-0', false).worker, 'crash');
    const lost = Object.assign(new Fake('worker-9', false), { loss: 'canary' as const });
    expect(restarts.join({ ...wanted, ...change }, [lost.worker])).toBeUndefined();
    restarts.close();
  });
});
