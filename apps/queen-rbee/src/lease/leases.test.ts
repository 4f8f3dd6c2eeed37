import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError } from '@rbee/protocol';
import { Leases } from './leases.js';

function build({ ephemeral = true, keepAliveMs = 0, startGraceMs = 10_000 } = {}) {
  const clock = new ManualClock();
  const seen = { tasks: 0, ends: 0 };
  const leases = new Leases({
    clock,
    log: silentLogger,
    ephemeral,
    keepAliveMs,
    startGraceMs,
    tasksRunning: () => seen.tasks,
    onUnused: () => {
      seen.ends++;
    },
  });
  return { clock, leases, seen };
}

describe('Leases', () => {
  it('ends an ephemeral queen with its last lease, and says so to whoever gave it back', async () => {
    const { leases, seen, clock } = build();
    const first = leases.open();
    const second = leases.open();
    expect(leases.release(first.id, 'done')).toBe(false);
    expect(await first.over).toBe('done');
    expect(seen.ends).toBe(0);
    expect(leases.release(second.id, 'done')).toBe(true);
    expect(seen.ends).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it('does not end before the last task', () => {
    const { leases, seen } = build();
    const { id } = leases.open();
    seen.tasks = 1;
    expect(leases.release(id, 'done')).toBe(false);
    seen.tasks = 0;
    leases.reconsider();
    expect(seen.ends).toBe(1);
  });

  it('waits for its first client, but not for ever', async () => {
    const { leases, seen, clock } = build({ startGraceMs: 10_000 });
    leases.reconsider();
    await clock.advance(9_999);
    expect(seen.ends).toBe(0);
    await clock.advance(1);
    expect(seen.ends).toBe(1);
  });

  it('counts a task without a lease as a client when the time for the first one is over', async () => {
    const { leases, seen, clock } = build();
    seen.tasks = 1;
    await clock.advance(10_000);
    expect(seen.ends).toBe(0);
    seen.tasks = 0;
    leases.reconsider();
    expect(seen.ends).toBe(1);
  });

  it('stays for its keep-alive time, counted from the last client', async () => {
    const { leases, seen, clock } = build({ keepAliveMs: 60_000 });
    expect(leases.release(leases.open().id, 'done')).toBe(false);
    await clock.advance(59_000);
    expect(leases.release(leases.open().id, 'done')).toBe(false);
    await clock.advance(59_000);
    expect(seen.ends).toBe(0);
    await clock.advance(1_000);
    expect(seen.ends).toBe(1);
  });

  it('refuses a client in the moment in which it ends', () => {
    const { leases } = build();
    leases.release(leases.open().id, 'done');
    expect(() => leases.open()).toThrow(RbeeError);
    try {
      leases.open();
    } catch (error) {
      expect(error).toMatchObject({ status: 503, retryable: true });
    }
  });

  it('never ends a queen that an operator started', async () => {
    const { leases, seen, clock } = build({ ephemeral: false });
    expect(leases.release(leases.open().id, 'done')).toBe(false);
    await clock.advance(3_600_000);
    expect(seen.ends).toBe(0);
  });

  it('ends every lease when the queen ends', async () => {
    const { leases } = build({ ephemeral: false });
    const held = [leases.open(), leases.open()];
    leases.close('shutting down');
    expect(await Promise.all(held.map(({ over }) => over))).toEqual(['shutting down', 'shutting down']);
  });

  it('takes the end of an unknown lease for what it is', () => {
    const { leases, seen } = build();
    leases.open();
    expect(leases.release('lease-unknown', 'done')).toBe(false);
    expect(seen.ends).toBe(0);
  });
});
