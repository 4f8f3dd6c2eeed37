import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BYTES_PER_MB, type Memory } from './snapshot.js';

/** What of a control group's memory is in use and cannot be dropped, and its bound. */
interface GroupMemory {
  limitBytes: number;
  usedBytes: number;
}

/** Version 1 writes "no limit" as a number near 2^63. */
const UNLIMITED_BYTES = 2 ** 60;

/**
 * Memory as Linux counts it, bounded by the control groups that this process is in (versions 1 and 2): in a container
 * `/proc/meminfo` shows the whole machine. `root` is `/` outside tests.
 */
export async function readLinuxMemory(root = '/'): Promise<Memory> {
  const memory = parseMeminfo(await readFile(join(root, 'proc/meminfo'), 'utf8'));
  for (const group of await readGroups(root)) {
    const free = Math.max(0, group.limitBytes - group.usedBytes);
    memory.totalMb = Math.min(memory.totalMb, Math.floor(group.limitBytes / BYTES_PER_MB));
    memory.availableMb = Math.min(memory.availableMb, Math.floor(free / BYTES_PER_MB));
  }
  return memory;
}

function parseMeminfo(text: string): Memory {
  const kb = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  return { totalMb: Math.floor(kb('MemTotal') / 1024), availableMb: Math.floor(kb('MemAvailable') / 1024) };
}

async function readGroups(root: string): Promise<GroupMemory[]> {
  const membership = await readText(join(root, 'proc/self/cgroup'));
  if (membership === null) return [];
  const groups: GroupMemory[] = [];
  for (const line of membership.split('\n')) {
    const [hierarchy, controllers, path] = line.split(':');
    if (path === undefined) continue;
    if (hierarchy === '0') {
      groups.push(...(await readAncestry(join(root, 'sys/fs/cgroup'), path, readVersion2)));
    } else if (controllers?.split(',').includes('memory')) {
      groups.push(...(await readAncestry(join(root, 'sys/fs/cgroup/memory'), path, readVersion1)));
    }
  }
  return groups;
}

/** A group is bounded by its own limit and by that of every group above it. Inside a container only the root may exist. */
async function readAncestry(
  mount: string,
  path: string,
  read: (folder: string) => Promise<GroupMemory | null>,
): Promise<GroupMemory[]> {
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  const folders = [mount, ...names.map((_, depth) => join(mount, ...names.slice(0, depth + 1)))];
  const groups = await Promise.all(folders.map(read));
  return groups.filter((group) => group !== null);
}

function readVersion2(folder: string): Promise<GroupMemory | null> {
  return readGroup(folder, 'memory.max', 'memory.current', 'inactive_file');
}

function readVersion1(folder: string): Promise<GroupMemory | null> {
  return readGroup(folder, 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file');
}

async function readGroup(folder: string, limitFile: string, usageFile: string, cacheField: string) {
  const texts = await Promise.all([limitFile, usageFile, 'memory.stat'].map((file) => readText(join(folder, file))));
  const [limitText, usageText, statText] = texts;
  const limitBytes = Number(limitText?.trim() || Number.NaN);
  const usage = Number(usageText?.trim() || Number.NaN);
  if (!Number.isFinite(limitBytes) || limitBytes >= UNLIMITED_BYTES || !Number.isFinite(usage)) return null;
  // File pages that nobody used lately are given back before anything is refused, so they count as free.
  const cache = Number(new RegExp(`^${cacheField} (\\d+)$`, 'm').exec(statText ?? '')?.[1] ?? 0);
  return { limitBytes, usedBytes: Math.max(0, usage - cache) };
}

async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}
