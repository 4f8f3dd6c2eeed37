import { describe, expect, it, jest } from '@jest/globals';
import { everyLive, orAborted, sleep, systemClock, withTimeout } from './clock.js';
import { ManualClock } from './testing/manual-clock.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const never = new Promise<never>(() => undefined);

describe("the machine's clock", () => {
  it('runs a task once, or not at all when it is cancelled', async () => {
    const ran: string[] = [];
    systemClock.after(1, () => ran.push('cancelled'))();
    await new Promise<void>((resolve) => systemClock.after(2, resolve));
    expect(ran).toEqual([]);
  });

  it('runs a periodic task until it is ended', async () => {
    let runs = 0;
    await new Promise<void>((resolve) => {
      const end = systemClock.every(1, () => {
        runs++;
        if (runs === 3) {
          end();
          resolve();
        }
      });
    });
    await sleep(systemClock, 5);
    expect(runs).toBe(3);
  });

  it.each([2 ** 31, 1e15, Number.POSITIVE_INFINITY])('does not let a delay of %d ms overflow', async (delayMs) => {
    let ran = false;
    const cancel = [
      systemClock.after(delayMs, () => {
        ran = true;
      }),
      systemClock.every(delayMs, () => {
        ran = true;
      }),
    ];
    await sleep(systemClock, 5);
    for (const end of cancel) end();
    expect(ran).toBe(false);
  });

  it('reads first what came while the process was stopped', async () => {
    const order: string[] = [];
    const now = performance.now.bind(performance);
    const spy = jest.spyOn(performance, 'now');
    try {
      const late = new Promise<void>((resolve) =>
        systemClock.after(5, () => {
          order.push('deadline');
          resolve();
        }),
      );
      // As after a SIGSTOP of ten seconds: the answer lies in the socket, and the timer has run out long ago.
      spy.mockImplementation(() => now() + 10_000);
      setTimeout(() => setImmediate(() => order.push('answer')), 5);
      await late;
    } finally {
      spy.mockRestore();
    }
    expect(order).toEqual(['answer', 'deadline']);
  });

  it('counts milliseconds', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
    const first = systemClock.monotonic();
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
  });
});

describe('a sleep', () => {
  it('lasts as long as it says', async () => {
    const clock = new ManualClock();
    let awake = false;
    const slept = sleep(clock, 100).then(() => {
      awake = true;
    });
    await clock.advance(99);
    expect(awake).toBe(false);
    await clock.advance(1);
    await slept;
  });

  it('ends with the reason of its signal, and leaves no timer', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const slept = sleep(clock, 100, abort.signal);
    abort.abort(new Error('wake up'));
    await expect(slept).rejects.toThrow('wake up');
    await expect(sleep(clock, 100, abort.signal)).rejects.toThrow('wake up');
    expect(clock.pending).toBe(0);
  });

  it('that is over is not disturbed by its signal', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const slept = sleep(clock, 100, abort.signal);
    await clock.advance(100);
    await slept;
    abort.abort(new Error('late'));
  });
});

describe('a time limit', () => {
  const late = () => new Error('too late');

  it('gives the result, or the error, of what is in time', async () => {
    const clock = new ManualClock();
    await expect(withTimeout(clock, 10, Promise.resolve(5), late)).resolves.toBe(5);
    await expect(withTimeout(clock, 10, Promise.reject(new Error('own')), late)).rejects.toThrow('own');
    await turn();
    expect(clock.pending).toBe(0);
  });

  it('throws when it passes, and forgets an error that comes later', async () => {
    const clock = new ManualClock();
    let fail: (error: Error) => void = () => undefined;
    const slow = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    const result = withTimeout(clock, 10, slow, late);
    const outcome = expect(result).rejects.toThrow('too late');
    await clock.advance(10);
    await outcome;
    fail(new Error('afterwards'));
    await turn();
    expect(clock.pending).toBe(0);
  });
});

describe('waiting for a promise or a signal', () => {
  it('gives the result', async () => {
    await expect(orAborted(Promise.resolve(5), new AbortController().signal)).resolves.toBe(5);
  });

  it('ends with the reason', async () => {
    const abort = new AbortController();
    const result = orAborted(never, abort.signal);
    abort.abort(new Error('enough'));
    await expect(result).rejects.toThrow('enough');
    await expect(orAborted(never, abort.signal)).rejects.toThrow('enough');
  });

  it('forgets an error that comes after the signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(orAborted(Promise.reject(new Error('own')), signal)).rejects.toThrow('enough');
    await turn();
  });
});

describe('a periodic task whose period may change', () => {
  function start() {
    const clock = new ManualClock();
    const live = { period: 1000 };
    let runs = 0;
    const task = everyLive(
      clock,
      () => live.period,
      () => void runs++,
    );
    return { clock, live, task, runs: () => runs };
  }

  it('runs on as before when nothing has changed', async () => {
    const { clock, task, runs } = start();
    await clock.advance(900);
    task.rearm();
    await clock.advance(100);
    expect(runs()).toBe(1);
    task.stop();
    expect(clock.pending).toBe(0);
  });

  it('has its new period from the moment that somebody says so', async () => {
    const { clock, live, task, runs } = start();
    live.period = 100;
    task.rearm();
    await clock.advance(500);
    expect(runs()).toBe(5);
    live.period = 5000;
    task.rearm();
    await clock.advance(4999);
    expect(runs()).toBe(5);
    await clock.advance(1);
    expect(runs()).toBe(6);
    task.stop();
    live.period = 1;
    task.rearm();
    expect(clock.pending).toBe(0);
  });
});
