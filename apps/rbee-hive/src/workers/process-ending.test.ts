import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { ProcessEnding } from './process-ending.js';

const LIMITS = { drainMs: 30_000, killMs: 10_000 };

/** A process that ends on certain signals, or by itself some time after its shutdown request. */
function scene(behaviour: { endsOn?: NodeJS.Signals[]; endsAfterMs?: number; acknowledges?: boolean }) {
  const clock = new ManualClock();
  const start = clock.now();
  const signals: [string, number][] = [];
  const killed: string[] = [];
  const ending = new ProcessEnding(clock, (reason) => killed.push(reason));
  let gone = false;
  const end = () => {
    gone = true;
    ending.confirm();
  };
  ending.attach({
    signal(signal) {
      if (gone) return false;
      signals.push([signal, (clock.now() - start) / 1000]);
      if (behaviour.endsOn?.includes(signal)) end();
      return true;
    },
  });
  const request = async () => {
    if (behaviour.endsAfterMs !== undefined) clock.after(behaviour.endsAfterMs, end);
    if (behaviour.acknowledges === false) throw new Error('no answer');
    return true;
  };
  return { clock, ending, signals, killed, request };
}

describe('ProcessEnding', () => {
  it.each([
    ['obeys', { endsAfterMs: 2000 }, 2, [], true],
    ['drains for long', { endsAfterMs: 29_000 }, 29, [], true],
    ['drains for too long', { endsAfterMs: 90_000, endsOn: ['SIGKILL'] }, 30, [['SIGKILL', 30]], true],
    ['obeys SIGTERM only', { acknowledges: false, endsOn: ['SIGTERM'] }, 0, [['SIGTERM', 0]], true],
    [
      'obeys SIGKILL only',
      { acknowledges: false, endsOn: ['SIGKILL'] },
      10,
      [
        ['SIGTERM', 0],
        ['SIGKILL', 10],
      ],
      true,
    ],
    [
      'hangs in the kernel',
      { acknowledges: false },
      15,
      [
        ['SIGTERM', 0],
        ['SIGKILL', 10],
      ],
      false,
    ],
  ] as const)('ends a process that %s', async (_name, behaviour, seconds, signals, gone) => {
    const stage = scene(behaviour as Parameters<typeof scene>[0]);
    const start = stage.clock.now();
    let endedAt: number | undefined;
    const result = stage.ending.stop(stage.request, LIMITS).finally(() => {
      endedAt = (stage.clock.now() - start) / 1000;
    });
    await stage.clock.advance(120_000);
    await expect(result).resolves.toBe(gone);
    expect(endedAt).toBe(seconds);
    expect(stage.signals).toEqual(signals);
    expect(stage.killed).toHaveLength(signals.filter(([signal]) => signal === 'SIGKILL').length);
    expect(stage.clock.pending).toBe(0);
  });
});
