import { beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError, type SpawnAnswer, type SpawnRequest } from '@rbee/protocol';
import type { Worker } from './worker.js';
import { WorkerRestarts } from './worker-restarts.js';

/** As much of a worker as restarts look at. */
class Fake {
  readonly said: string[] = [];
  readonly spec = { slots: 3, contextSize: 256 };
  restarts = 0;
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
