import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { Hangups } from './hangups.js';
import { ManualClock } from './testing/manual-clock.js';

function start(terminal: { open: boolean } = { open: false }) {
  const signals = new EventEmitter();
  const clock = new ManualClock();
  const hangups = new Hangups(signals, clock, () => terminal.open);
  const attended: boolean[] = [];
  const attend = () => hangups.attend((gone) => void attended.push(gone));
  return { signals, clock, hangups, attended, attend, terminal };
}

describe('a hangup', () => {
  it('is handed on at once by a program without a terminal', () => {
    const { signals, attended, attend, clock } = start();
    attend();
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    expect([attended, clock.pending]).toEqual([[false, false], 0]);
  });

  it('before anybody attends is kept; several are one', () => {
    const { signals, attended, attend } = start();
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    attend();
    expect(attended).toEqual([false]);
    signals.emit('SIGHUP');
    expect(attended).toEqual([false, false]);
  });

  it('on a terminal that stays is no other', async () => {
    const { signals, attended, attend, clock } = start({ open: true });
    attend();
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    expect(attended).toEqual([]);
    await clock.advance(100);
    expect([attended, clock.pending]).toEqual([[false], 0]);
  });

  it('of a terminal that is gone a moment later says so', async () => {
    const { signals, attended, attend, clock, terminal } = start({ open: true });
    attend();
    signals.emit('SIGHUP');
    terminal.open = false;
    await clock.advance(100);
    expect(attended).toEqual([true]);
  });

  it('of a terminal that closes while the program starts is told once there is somebody', async () => {
    const { signals, attended, attend, clock, terminal } = start({ open: true });
    signals.emit('SIGHUP');
    terminal.open = false;
    attend();
    await clock.advance(100);
    expect(attended).toEqual([true]);
  });

  it('is not taken any more after the end, also one that is being looked at', async () => {
    const { signals, attended, attend, clock, hangups } = start({ open: true });
    attend();
    signals.emit('SIGHUP');
    hangups.close();
    await clock.advance(100);
    expect([attended, signals.listenerCount('SIGHUP'), clock.pending]).toEqual([[], 0, 0]);
  });
});
