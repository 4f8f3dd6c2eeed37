import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { Hangups } from './hangups.js';
import { Releasers, type Running, runUntilEnded } from './lifecycle.js';
import { createLogger } from './logger.js';
import { silentLogger } from './silent-logger.js';
import { ManualClock } from './testing/manual-clock.js';

describe('what was acquired', () => {
  it('is released newest first, one after the other', async () => {
    const order: string[] = [];
    const releasers = new Releasers(silentLogger);
    releasers.add('first', () => void order.push('first'));
    releasers.add('slow', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('slow');
    });
    await releasers.releaseAll();
    await releasers.releaseAll();
    expect(order).toEqual(['slow', 'first']);
  });

  it('is released also behind one that fails, which is logged', async () => {
    const lines: string[] = [];
    const log = createLogger({
      service: 's',
      level: 'info',
      destinations: [{ write: (line) => void lines.push(line) }],
    });
    const order: string[] = [];
    const releasers = new Releasers(log);
    releasers.add('first', () => void order.push('first'));
    releasers.add('database', async () => {
      throw new Error('locked');
    });
    releasers.add('server', () => {
      throw new Error('busy');
    });
    await releasers.releaseAll();
    expect(order).toEqual(['first']);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { part: 'server', error: { message: 'busy' } },
      { part: 'database', error: { message: 'locked' } },
    ]);
  });

  it('while others are released is released as well', async () => {
    const order: string[] = [];
    const releasers = new Releasers(silentLogger);
    releasers.add('first', () => releasers.add('added', () => void order.push('added')));
    await releasers.releaseAll();
    expect(order).toEqual(['added']);
  });
});

describe('a daemon', () => {
  function start(stop?: (reason: string) => Promise<void>, hangup?: { terminal: { open: boolean }; run: () => void }) {
    const signals = new EventEmitter();
    const clock = new ManualClock();
    const onHangup = hangup && { run: hangup.run, hangups: new Hangups(signals, clock, () => hangup.terminal.open) };
    const stops: string[] = [];
    let end: (code: number) => void = () => undefined;
    const ended = new Promise<number>((resolve) => {
      end = resolve;
    });
    const running: Running = {
      ended,
      stop: async (reason) => {
        stops.push(reason);
        await stop?.(reason);
      },
    };
    const options = { signals, clock, deadlineMs: 30_000, log: silentLogger, ...(onHangup && { onHangup }) };
    const code = runUntilEnded(running, options);
    const listeners = () => signals.eventNames().reduce((sum, name) => sum + signals.listenerCount(name), 0);
    return { signals, clock, stops, end: (exit: number) => end(exit), code, listeners };
  }

  it.each([0, 3])('that ends by itself gives its code: %d', async (exit) => {
    const { end, code, stops, listeners } = start();
    expect(listeners()).toBe(3);
    end(exit);
    expect(await code).toBe(exit);
    expect(stops).toEqual([]);
    expect(listeners()).toBe(0);
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'])('drains at the first %s', async (signal) => {
    const { signals, end, code, stops, listeners, clock } = start();
    signals.emit(signal);
    expect(stops).toEqual([signal]);
    await clock.advance(29_999);
    end(0);
    expect(await code).toBe(0);
    expect([listeners(), clock.pending]).toEqual([0, 0]);
  });

  it('that reads its configuration at a hangup goes on, whatever comes of the reading', async () => {
    let runs = 0;
    const run = () => {
      runs += 1;
      if (runs === 1) throw new Error('bad');
    };
    const { signals, end, code, stops, listeners, clock } = start(undefined, { terminal: { open: false }, run });
    expect(listeners()).toBe(3);
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    expect([runs, stops]).toEqual([2, []]);
    signals.emit('SIGTERM');
    signals.emit('SIGHUP');
    expect([runs, stops]).toEqual([2, ['SIGTERM']]);
    end(0);
    expect(await code).toBe(0);
    expect([listeners(), clock.pending]).toEqual([0, 0]);
  });

  it('that does so drains all the same when the terminal that it was started on is gone', async () => {
    const terminal = { open: true };
    let runs = 0;
    const { signals, end, code, stops, listeners, clock } = start(undefined, { terminal, run: () => void runs++ });
    signals.emit('SIGHUP');
    await clock.advance(100);
    expect([runs, stops]).toEqual([1, []]);
    signals.emit('SIGHUP');
    terminal.open = false;
    await clock.advance(100);
    expect([runs, stops]).toEqual([1, ['SIGHUP']]);
    end(0);
    expect(await code).toBe(0);
    expect([listeners(), clock.pending]).toEqual([0, 0]);
  });

  it('ends at once at the second signal', async () => {
    const { signals, code, stops, listeners, clock } = start();
    signals.emit('SIGINT');
    signals.emit('SIGTERM');
    expect(await code).toBe(1);
    expect(stops).toEqual(['SIGINT']);
    expect([listeners(), clock.pending]).toEqual([0, 0]);
  });

  it('ends at its deadline', async () => {
    const { signals, code, clock, listeners } = start();
    signals.emit('SIGTERM');
    await clock.advance(30_000);
    expect(await code).toBe(1);
    expect([listeners(), clock.pending]).toEqual([0, 0]);
  });

  it('that cannot stop ends at once', async () => {
    const { signals, code, clock } = start(async () => {
      throw new Error('stuck');
    });
    signals.emit('SIGTERM');
    expect(await code).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it('that fails passes its error on and lets the signals go', async () => {
    const signals = new EventEmitter();
    const running: Running = { ended: Promise.reject(new Error('broken')), stop: async () => undefined };
    const options = { signals, clock: new ManualClock(), deadlineMs: 1, log: silentLogger };
    await expect(runUntilEnded(running, options)).rejects.toThrow('broken');
    expect(signals.eventNames()).toEqual([]);
  });
});
