import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryKills } from './memory-kills.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-kernel-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string) => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
};
const kills = () =>
  new MemoryKills({ cgroups: join(folder, 'cgroup'), ownCgroup: join(folder, 'own'), log: join(folder, 'kmsg') });

/** Started 1000 s after the machine. */
const WORKER = { pid: 4711, startTime: '100000' };
const KILLED = { code: null, signal: 'SIGKILL' } as const;

describe('a worker that was killed', () => {
  it.each([
    [
      'of the second version',
      '0::/user/hive\n',
      'cgroup/user/hive/memory.events',
      (n: number) => `low 0\noom 9\noom_kill ${n}\n`,
    ],
    [
      'of the first version',
      '9:cpu:/\n4:memory:/hive\n0::/\n',
      'cgroup/memory/hive/memory.oom_control',
      (n: number) => `oom_kill_disable 0\nunder_oom 0\noom_kill ${n}\n`,
    ],
  ])('was it for memory when the control group %s counts one more', (_what, own, file, text) => {
    write('own', own);
    write(file, text(3));
    const known = kills();
    expect(known.explain(WORKER, KILLED)).toBeUndefined();
    write(file, text(4));
    expect(known.explain(WORKER, KILLED)).toMatch(/control group/);
    // Each kill explains one end.
    expect(known.explain(WORKER, KILLED)).toBeUndefined();
  });

  it('was it for memory when the kernel log names its process since it was started', () => {
    const line = (seconds: number, pid: number) =>
      `6,812,${seconds * 1e6},-;Memory cgroup out of memory: Killed process ${pid} (node) total-vm:90000kB, anon-rss:8000kB\n`;
    write('kmsg', `6,1,0,-;Linux version\n${line(900, 4711)}${line(1500, 4712)}`);
    expect(kills().explain(WORKER, KILLED)).toBeUndefined();
    write('kmsg', line(1500, 4711));
    expect(kills().explain(WORKER, KILLED)).toMatch(/kernel log/);
    expect(kills().explain(WORKER, { code: null, signal: null })).toMatch(/kernel log/);
  });

  it('was it for another reason in every other case', () => {
    write('own', '0::/hive\n');
    write('cgroup/hive/memory.events', 'oom_kill 1\n');
    const known = kills();
    write('cgroup/hive/memory.events', 'oom_kill 2\n');
    expect(known.explain(WORKER, { code: 1, signal: null })).toBeUndefined();
    expect(known.explain(WORKER, { code: null, signal: 'SIGSEGV' })).toBeUndefined();
    known.look();
    expect(known.explain(WORKER, KILLED)).toBeUndefined();
  });

  it('nobody knows where the kernel says nothing', () => {
    expect(kills().explain(WORKER, KILLED)).toBeUndefined();
  });
});
