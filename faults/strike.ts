import { signalIfThere } from '../features/support/process-signal.js';
import type { Program } from '../features/support/program.js';
import { type Cell, SILENCE_MS, SSHD_RESTART_MS, STOP_MS } from './matrix.js';
import type { Relay } from './relay.js';
import { pass } from './seconds.js';
import type { Site } from './site.js';

/** A fault that has begun. */
interface Blow {
  /** Resolves when the fault is over: what stood still goes on, what was cut is mended. */
  readonly over: Promise<void>;
}

/** Does a cell's fault to its process, or its links. Throws when there is no such process. */
export async function strike(cell: Cell, site: Site, keeper: Program): Promise<Blow> {
  if (cell.fault === 'link') return { over: cut(linksOf(cell, site)) };
  if (cell.process === 'sshd') return strikeServer(cell.fault, site);
  const pids = pidsOf(cell, site, keeper);
  if (pids.length === 0) throw new Error(`there is no ${cell.process} to send ${cell.fault} to`);
  for (const pid of pids) signalIfThere(pid, cell.fault);
  if (cell.fault === 'SIGKILL') return { over: Promise.resolve() };
  return {
    over: pass(STOP_MS).then(() => {
      for (const pid of pids) signalIfThere(pid, 'SIGCONT');
    }),
  };
}

function pidsOf({ process }: Cell, site: Site, keeper: Program): number[] {
  if (process === 'keeper') return keeper.child.pid === undefined ? [] : [keeper.child.pid];
  return site.pidsOf(process === 'queen' ? 'queen-rbee' : process === 'hive' ? 'rbee-hive' : 'llm-worker');
}

async function strikeServer(fault: 'SIGKILL' | 'SIGSTOP', { machine }: Site): Promise<Blow> {
  if (fault === 'SIGSTOP') {
    machine.freeze();
    return { over: pass(STOP_MS).then(() => machine.thaw()) };
  }
  await machine.stopServer();
  return { over: pass(SSHD_RESTART_MS).then(() => machine.startServer()) };
}

function linksOf({ process }: Cell, { relays }: Site): Relay[] {
  const { queen, ssh, hive, workers } = relays;
  const links: Record<Cell['process'], readonly (Relay | undefined)[]> = {
    keeper: [queen],
    queen: [queen, ssh],
    hive: [hive],
    worker: workers,
    sshd: [ssh],
  };
  return links[process].filter((relay) => relay !== undefined);
}

async function cut(links: readonly Relay[]): Promise<void> {
  for (const link of links) link.silence();
  await pass(SILENCE_MS);
  for (const link of links) {
    link.reset();
    link.restore();
  }
}
