import { isPortFree } from '../features/support/leaks.js';

/** Ports of one site, all from one block. */
export interface SitePorts {
  readonly first: number;
  readonly queen: number;
  readonly queenRelay: number;
  readonly localHive: number;
  readonly localWorkers: number;
  readonly ssh: number;
  readonly sshRelay: number;
  readonly hive: number;
  readonly workers: number;
}

const PORTS_PER_SITE = 20;
/** Below the ports that a kernel gives out by itself, and beside those of the scenarios. */
const FIRST = 12_000;
const BLOCKS = 350;

let next = process.pid % BLOCKS;

/** A block of ports that nothing listens on. */
export async function takePorts(): Promise<SitePorts> {
  for (let tries = 0; tries < BLOCKS; tries++) {
    const first = FIRST + (next++ % BLOCKS) * PORTS_PER_SITE;
    if ((await heldPorts(first)).length > 0) continue;
    return {
      first,
      queen: first,
      queenRelay: first + 1,
      ssh: first + 2,
      sshRelay: first + 3,
      localHive: first + 4,
      localWorkers: first + 5,
      hive: first + 10,
      workers: first + 11,
    };
  }
  throw new Error('no block of free ports');
}

/** Those of a site's block that something listens on. */
export async function heldPorts(first: number): Promise<number[]> {
  const ports = Array.from({ length: PORTS_PER_SITE }, (_, index) => first + index);
  const free = await Promise.all(ports.map(isPortFree));
  return ports.filter((_, index) => !free[index]);
}
