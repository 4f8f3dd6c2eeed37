import { isPortFree } from './leaks.js';

export interface Ports {
  readonly queen: number;
  readonly hive: number;
  /** First of the ports that the hive gives to workers. */
  readonly workers: number;
  /** The same for a second machine, and the port of its SSH server. */
  readonly ssh: number;
  readonly remoteHive: number;
  readonly remoteWorkers: number;
}

/** Ports of one scenario: ten for each machine. */
export const PORTS_PER_SCENARIO = 20;
const FIRST_PORT = 20_000;
const PORTS_PER_RUNNER = 4_000;

// Not at the beginning, so that two runs at the same time seldom meet.
let next = Math.floor(Math.random() * (PORTS_PER_RUNNER / PORTS_PER_SCENARIO));

/** A block of free ports that no scenario of this run uses, in whichever of the parallel runners. */
export async function takePorts(): Promise<Ports> {
  const runner = Number(process.env.CUCUMBER_WORKER_ID ?? 0);
  for (let tries = 0; tries < PORTS_PER_RUNNER / PORTS_PER_SCENARIO; tries++) {
    const first =
      FIRST_PORT + runner * PORTS_PER_RUNNER + (next % (PORTS_PER_RUNNER / PORTS_PER_SCENARIO)) * PORTS_PER_SCENARIO;
    next++;
    const second = first + PORTS_PER_SCENARIO / 2;
    const needed = [first, second].flatMap((port) => [port, port + 1, port + 2, port + 3]);
    const free = await Promise.all(needed.map(isPortFree));
    if (!free.every(Boolean)) continue;
    return {
      queen: first,
      hive: first + 1,
      workers: first + 2,
      ssh: second,
      remoteHive: second + 1,
      remoteWorkers: second + 2,
    };
  }
  throw new Error('no block of free ports for a scenario');
}
