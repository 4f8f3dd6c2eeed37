import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, silentLogger, systemClock } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { ReadyCallback } from '@rbee/protocol';
import { HiveLink } from './hive-link.js';
import { type FakeHive, startFakeHive } from './testing/fake-hive.js';

/** Counts time by hand for retries and beats, while calls take real time. */
function start(url: string): { link: HiveLink; clock: ManualClock; free: { slots: number } } {
  const clock = new ManualClock();
  const free = { slots: 4 };
  const about = { url: 'http://127.0.0.1:8001', model_ref: 'builtin:honeycomb', backend: 'cpu' as const, device: 0 };
  const link = new HiveLink({
    url,
    workerId: 'worker-1',
    key: undefined,
    clock,
    log: silentLogger,
    timeouts: DEFAULT_TIMEOUTS,
    report: {
      callback: (): Omit<ReadyCallback, 'worker_id'> =>
        ({ ...about, state: 'idle', slots_available: free.slots }) as ReadyCallback,
      heartbeat: () => ({ health_status: 'healthy', state: 'idle', slots_available: free.slots }),
    } as ConstructorParameters<typeof HiveLink>[0]['report'],
  });
  return { link, clock, free };
}

async function withHive(run: (hive: FakeHive) => Promise<void>): Promise<void> {
  const hive = await startFakeHive(systemClock);
  try {
    await run(hive);
  } finally {
    await hive.close();
  }
}

describe('HiveLink', () => {
  it('calls back once, then beats every 30 s', () =>
    withHive(async (hive) => {
      const { link, clock } = start(hive.url);
      await link.call();
      expect(link.acknowledged).toBe(true);
      expect(hive.callbacks).toHaveLength(1);
      await clock.advance(30_000);
      await hive.until(({ heartbeats }) => heartbeats.length === 1);
      await clock.advance(30_000);
      await hive.until(({ heartbeats }) => heartbeats.length === 2);
      expect(hive.callbacks).toHaveLength(1);
      await link.close(1000);
      expect(hive.heartbeats).toHaveLength(3);
      expect(clock.pending).toBe(0);
    }));

  it('tells a change at once, and many changes together', () =>
    withHive(async (hive) => {
      const { link, free } = start(hive.url);
      await link.call();
      for (free.slots = 3; free.slots > 0; free.slots--) link.notify();
      await hive.until(({ heartbeats }) => heartbeats.at(-1)?.slots_available === 0);
      expect(hive.heartbeats.length).toBeLessThanOrEqual(2);
      await link.close(1000);
    }));

  it('tells of jobs a moment later, so that one that is over by then costs one report', () =>
    withHive(async (hive) => {
      const { link, clock } = start(hive.url);
      await link.call();
      for (let job = 0; job < 5; job++) link.notifySoon();
      await clock.advance(19);
      expect(hive.heartbeats).toHaveLength(0);
      await clock.advance(1);
      await hive.until(({ heartbeats }) => heartbeats.length === 1);
      link.notifySoon();
      await link.close(1000);
      expect(hive.heartbeats).toHaveLength(2);
      expect(clock.pending).toBe(0);
    }));

  it('calls back again when the hive does not know it any more', () =>
    withHive(async (hive) => {
      const { link } = start(hive.url);
      await link.call();
      hive.forget();
      link.notify();
      await hive.until(({ callbacks }) => callbacks.length === 2);
      await link.close(1000);
      expect(hive.heartbeats).toHaveLength(2);
    }));

  it('tries again after a growing time while there is no hive', async () => {
    const hive = await startFakeHive(systemClock);
    const { port } = new URL(hive.url);
    await hive.close();
    const { link, clock } = start(hive.url);
    await link.call();
    expect(link.acknowledged).toBe(false);
    await clock.advance(1999);
    const later = await startFakeHive(systemClock, Number(port));
    expect(later.callbacks).toHaveLength(0);
    await clock.advance(1);
    await later.until(({ callbacks }) => callbacks.length === 1);
    await link.close(1000);
    await later.close();
    expect(clock.pending).toBe(0);
  });

  it('calls back at least every 5 s, however long there was no hive', async () => {
    const hive = await startFakeHive(systemClock);
    const { port } = new URL(hive.url);
    await hive.close();
    const { link, clock } = start(hive.url);
    for (let attempt = 0; attempt < 8; attempt++) await link.call();
    const later = await startFakeHive(systemClock, Number(port));
    await clock.advance(4999);
    expect(later.callbacks).toHaveLength(0);
    await clock.advance(1);
    await later.until(({ callbacks }) => callbacks.length === 1);
    await link.close(1000);
    await later.close();
    expect(clock.pending).toBe(0);
  });

  it('does not wait for a hive that does not answer the last report', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const { link, clock } = start(`http://127.0.0.1:${port}`);
    link.notify();
    await once(silent, 'request');
    const closed = link.close(500);
    await clock.advance(500);
    await closed;
    silent.closeAllConnections();
    silent.close();
    expect(link.acknowledged).toBe(false);
    expect(clock.pending).toBe(0);
  });
});
