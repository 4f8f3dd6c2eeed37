import { readdirSync } from 'node:fs';
import { residentMiB } from '../bench/figures.js';
import type { Site } from './site.js';

/** What the daemons hold while nothing is to be done. */
export interface Held {
  readonly processes: number;
  readonly descriptors: Readonly<Record<string, number>>;
  readonly residentMiB: Readonly<Record<string, number>>;
}

/** So many more than at first are no leak: kept-alive connections, a log that was opened anew. */
const MORE_DESCRIPTORS = 30;
/** What garbage collection has not given back. */
const MORE_MIB = 80;

export function measure(site: Site): Held {
  const descriptors: Record<string, number> = {};
  const resident: Record<string, number> = {};
  for (const name of ['queen-rbee', 'rbee-hive'] as const) {
    const [pid] = site.pidsOf(name);
    if (pid === undefined) continue;
    descriptors[name] = readdirSync(`/proc/${pid}/fd`).length;
    resident[name] = Math.round(residentMiB(pid));
  }
  return { processes: site.processes().length, descriptors, residentMiB: resident };
}

/** What has grown since the first measurement in a way that work alone does not explain. */
export function findLeaks(first: Held, now: Held, site: Site): string[] {
  const leaks: string[] = [];
  for (const [name, count] of Object.entries(now.descriptors)) {
    const before = first.descriptors[name] ?? count;
    if (count > before + MORE_DESCRIPTORS) leaks.push(`${name} holds ${count} descriptors, ${before} at first`);
  }
  for (const [name, mib] of Object.entries(now.residentMiB)) {
    const before = first.residentMiB[name] ?? mib;
    if (mib > before + MORE_MIB) leaks.push(`${name} holds ${mib} MiB, ${before} at first`);
  }
  for (const name of ['queen-rbee', 'rbee-hive'] as const) {
    const count = site.pidsOf(name).length;
    if (count > 1) leaks.push(`${count} processes of ${name}`);
  }
  return leaks;
}
