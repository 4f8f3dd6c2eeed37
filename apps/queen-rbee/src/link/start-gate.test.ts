import { describe, expect, it } from '@jest/globals';
import { orAborted } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { StartGate } from './start-gate.js';

const reason = new RbeeError('CANCELLED', 'stopped');
const forever = (signal: AbortSignal) => orAborted(new Promise<string>(() => undefined), signal);

describe('StartGate', () => {
  it('shares a start, and begins a new one when that is over', async () => {
    const gate = new StartGate<number>();
    let starts = 0;
    const begin = async () => ++starts;
    expect(await Promise.all([gate.start(begin), gate.start(begin)])).toEqual([1, 1]);
    expect(await gate.start(begin)).toBe(2);
  });

  it('breaks a start off before it ends', async () => {
    const gate = new StartGate<string>();
    const order: string[] = [];
    const starting = gate.start((signal) => forever(signal).finally(() => order.push('broken off')));
    starting.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    await gate.stop(reason, async () => order.push('ended'));
    await expect(starting).rejects.toBe(reason);
    expect(order).toEqual(['broken off', 'ended']);
  });

  it('lets a start that comes during an end wait for it', async () => {
    const gate = new StartGate<string>();
    const order: string[] = [];
    const first = gate.start(forever);
    first.catch(() => undefined);
    const stopping = gate.stop(reason, async () => void order.push('ended'));
    const second = gate.start(async () => {
      order.push('started');
      return 'second';
    });
    expect(await second).toBe('second');
    await stopping;
    expect(order).toEqual(['ended', 'started']);
  });

  it('does one end after the other, and breaks off the start that waits between them', async () => {
    const gate = new StartGate<string>();
    const order: string[] = [];
    const first = gate.stop(reason, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('first');
    });
    const between = gate.start(async () => 'never');
    between.catch(() => undefined);
    await gate.stop(reason, async () => void order.push('second'));
    await first;
    await expect(between).rejects.toBe(reason);
    expect(order).toEqual(['first', 'second']);
  });

  it('goes on after an end that failed', async () => {
    const gate = new StartGate<string>();
    await expect(gate.stop(reason, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(await gate.start(async () => 'up')).toBe('up');
  });

  it('starts nothing after it was closed', async () => {
    const gate = new StartGate<string>();
    const starting = gate.start(forever);
    starting.catch(() => undefined);
    await gate.close(reason);
    await expect(starting).rejects.toBe(reason);
    await expect(gate.start(async () => 'late')).rejects.toBe(reason);
  });
});
