import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Exit, ProcessIdentity } from '@rbee/daemon-kit';

/** Where the kernel tells of processes that it killed for memory; tests put files of their own there. */
export interface KernelFiles {
  readonly cgroups: string;
  readonly ownCgroup: string;
  readonly log: string;
}

const KERNEL_FILES: KernelFiles = { cgroups: '/sys/fs/cgroup', ownCgroup: '/proc/self/cgroup', log: '/dev/kmsg' };

/** Clock ticks of the kernel in a second, in which `/proc` gives start times; the same on every Linux that Node.js runs on. */
const TICKS_PER_S = 100;
const LONGEST_RECORD = 8192;

/**
 * Tells whether a process that got SIGKILL was killed by the kernel for want of memory. Only the kernel's own word counts:
 * its log, where this user may read it, or the counter of the control group that the hive shares with its workers.
 */
export class MemoryKills {
  private seen: number | undefined;

  constructor(private readonly files: KernelFiles = KERNEL_FILES) {
    this.look();
  }

  /** Takes the counter as it is now, so that a later rise belongs to what happens from now on. */
  look(): void {
    this.seen = this.readCounter();
  }

  /** What says that this process was killed for memory; `undefined` when nothing does. */
  explain(process: ProcessIdentity, exit: Exit): string | undefined {
    // Of a process that was no child of this hive nobody knows the signal.
    const unknown = exit.code === null && exit.signal === null;
    if (exit.signal !== 'SIGKILL' && !unknown) return undefined;
    if (this.namedInLog(process)) return 'the kernel log names its process';
    const before = this.seen;
    this.look();
    const rose = before !== undefined && this.seen !== undefined && this.seen > before;
    return rose && !unknown ? 'its control group counts one more kill for memory' : undefined;
  }

  /** How many processes of the hive's control group were killed for memory; `undefined` where nobody counts. */
  private readCounter(): number | undefined {
    for (const line of readText(this.files.ownCgroup)?.split('\n') ?? []) {
      const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (controllers === undefined || path === undefined) continue;
      const file =
        controllers === ''
          ? join(this.files.cgroups, path, 'memory.events')
          : controllers.split(',').includes('memory') && join(this.files.cgroups, 'memory', path, 'memory.oom_control');
      const count = file && /^oom_kill (\d+)$/m.exec(readText(file) ?? '')?.[1];
      if (count) return Number(count);
    }
    return undefined;
  }

  private namedInLog({ pid, startTime }: ProcessIdentity): boolean {
    const startedAt = Number(startTime) / TICKS_PER_S;
    return readKernelLog(this.files.log).some((record) => {
      const [, micros] = /^\d+,\d+,(\d+),/.exec(record) ?? [];
      // A process that had the pid before this one may have been killed as well.
      const since = Number(micros) / 1e6 >= startedAt - 1 / TICKS_PER_S;
      return since && new RegExp(`;.*[Kk]illed process ${pid} `).test(record);
    });
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It is missing, or not for this user: then it says nothing.
    return undefined;
  }
}

/** The records of the kernel log; none where this user may not read it. */
function readKernelLog(path: string): string[] {
  const records: string[] = [];
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return records;
  }
  const buffer = Buffer.alloc(LONGEST_RECORD);
  try {
    for (;;) {
      const length = readRecord(file, buffer);
      if (length === 0) return records;
      if (length !== undefined) records.push(...buffer.toString('utf8', 0, length).split('\n'));
    }
  } finally {
    closeSync(file);
  }
}

/** Bytes of the next record; 0 at the end, `undefined` for one that was overwritten meanwhile. */
function readRecord(file: number, buffer: Buffer): number | undefined {
  try {
    return readSync(file, buffer);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPIPE' ? undefined : 0;
  }
}
