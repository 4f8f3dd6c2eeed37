import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { Interrupt } from './interrupt.js';

describe('Interrupt', () => {
  it('asks first and forces then', async () => {
    const signals = new EventEmitter();
    const interrupt = new Interrupt(signals);
    signals.emit('SIGINT');
    expect(interrupt.signal.aborted).toBe(true);
    expect(interrupt.signal.reason).toMatchObject({ code: 'CANCELLED' });
    signals.emit('SIGTERM');
    await interrupt.forced;
  });

  it('gives Ctrl+C, and nothing else, to whoever took it over last', () => {
    const signals = new EventEmitter();
    const interrupt = new Interrupt(signals);
    const heard: string[] = [];
    const releaseFirst = interrupt.takeOver(() => heard.push('first'));
    const releaseSecond = interrupt.takeOver(() => heard.push('second'));
    signals.emit('SIGINT');
    releaseSecond();
    signals.emit('SIGINT');
    expect(heard).toEqual(['second', 'first']);
    expect(interrupt.signal.aborted).toBe(false);
    signals.emit('SIGTERM');
    expect(interrupt.signal.aborted).toBe(true);
    releaseFirst();
  });

  it('stops listening', () => {
    const signals = new EventEmitter();
    new Interrupt(signals).dispose();
    expect(signals.eventNames()).toEqual([]);
  });
});
