import { describe, expect, it } from '@jest/globals';
import { type GovernorOptions, ThreadGovernor } from './thread-governor.js';

/** A machine on which a step takes a time that depends on the number of threads; runs steps and records the counts. */
class Machine {
  now = 0;
  readonly used: number[] = [];
  readonly governor: ThreadGovernor;
  constructor(
    options: GovernorOptions,
    public stepMs: (threads: number, answers: number) => number,
  ) {
    this.governor = new ThreadGovernor(options);
  }

  run(steps: number, answers = 1): void {
    for (let step = 0; step < steps; step++) {
      const { threads } = this.governor;
      const ms = this.stepMs(threads, answers);
      this.used.push(threads);
      this.now += ms;
      this.governor.observe(ms, answers, this.now);
    }
  }

  /** Share of the last steps that used a count. */
  share(threads: number, last: number): number {
    return this.used.slice(-last).filter((used) => used === threads).length / last;
  }
}

const quiet = (threads: number, answers: number): number => (20 / threads + 1) * answers ** 0.5;
/** One core is busy: as soon as a thread has to share it, all wait for that thread. */
const busyWith = (cores: number) => (threads: number, answers: number) =>
  threads < cores ? quiet(threads, answers) : 300;

describe('ThreadGovernor', () => {
  it('stays with what is fastest while nothing changes', () => {
    const machine = new Machine({ counts: [1, 2, 4], threads: 4, stepMs: 6 }, quiet);
    machine.run(500);
    expect(machine.share(4, 500)).toBe(1);
  });

  it('gives threads up within a few steps when a neighbour appears, and takes them back when it has gone', () => {
    const machine = new Machine({ counts: [1, 2, 4], threads: 4, stepMs: 6 }, quiet);
    machine.run(50);
    machine.stepMs = busyWith(4);
    machine.run(40);
    expect(machine.used.slice(-10)).toEqual(new Array(10).fill(2));
    machine.stepMs = quiet;
    machine.run(3000);
    expect(machine.share(4, 100)).toBe(1);
  });

  it('goes down as far as it helps', () => {
    const machine = new Machine({ counts: [1, 2, 4, 8], threads: 8, stepMs: 3.5 }, busyWith(2));
    machine.run(60);
    expect(machine.governor.threads).toBe(1);
  });

  it('tries more threads less and less often while that is in vain', () => {
    const machine = new Machine({ counts: [1, 2], threads: 1, stepMs: 21 }, busyWith(2));
    machine.run(40_000);
    const probes = machine.used.filter((threads) => threads === 2).length;
    expect(probes).toBeGreaterThan(3);
    expect(probes).toBeLessThan(machine.now / 100_000 + 5);
  });

  it('takes no notice of one slow step, nor of more answers in a step', () => {
    const machine = new Machine({ counts: [1, 2], threads: 2, stepMs: 11 }, quiet);
    machine.run(30);
    machine.stepMs = () => 400;
    machine.run(1);
    machine.stepMs = quiet;
    machine.run(200, 4);
    machine.run(200, 2);
    expect(machine.share(2, machine.used.length)).toBe(1);
  });

  it('accepts that everything has become slower when fewer threads do not help', () => {
    const machine = new Machine({ counts: [1, 2], threads: 2, stepMs: 11 }, (threads) => 100 / threads);
    machine.run(400);
    expect(machine.share(2, 300)).toBe(1);
  });

  it('learns the usual time by itself where none was measured', () => {
    const machine = new Machine({ counts: [4, 8], threads: 8 }, quiet);
    machine.run(50);
    machine.stepMs = busyWith(8);
    machine.run(40);
    expect(machine.governor.threads).toBe(4);
  });

  it('leaves a single count alone', () => {
    const machine = new Machine({ counts: [1], threads: 1, stepMs: 1 }, () => 50);
    machine.run(100);
    expect(machine.governor.threads).toBe(1);
  });
});
