import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { sleep, systemClock } from './clock.js';
import {
  endProcess,
  identify,
  isRunning,
  readStartTime,
  type StartedProcess,
  signalProcess,
  startProcess,
  waitUntilGone,
} from './processes.js';

const children: StartedProcess[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    signalProcess(child, 'SIGKILL');
    await child.exited;
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Runs a line of JavaScript in a process of its own; it has written `ready` when this resolves. */
async function startScript(script: string): Promise<StartedProcess & { output: () => string }> {
  const folder = mkdtempSync(join(tmpdir(), 'rbee-processes-'));
  folders.push(folder);
  const path = join(folder, 'out');
  const outputDescriptor = openSync(path, 'a');
  const child = await startProcess({
    command: process.execPath,
    args: ['-e', `${script}; console.log('ready')`],
    variables: { PATH: process.env.PATH, GIVEN: 'yes', MISSING: undefined },
    cwd: folder,
    outputDescriptor,
  });
  closeSync(outputDescriptor);
  children.push(child);
  const output = () => readFileSync(path, 'utf8');
  while (!output().includes('ready')) await sleep(systemClock, 5);
  return { ...child, output };
}

const IDLE = 'setInterval(() => {}, 1e6)';
const STUBBORN = `process.on('SIGTERM', () => {}); ${IDLE}`;

describe('a started process', () => {
  it('has the variables, folder and output that it was given, and a session of its own', async () => {
    const child = await startScript(`console.log(process.env.GIVEN, 'MISSING' in process.env, process.cwd()); ${IDLE}`);
    expect(child.output()).toMatch(new RegExp(`^yes false .*${folders[0]}\n`));
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ');
    expect([stat?.[2], stat?.[3]]).toEqual([String(child.pid), String(child.pid)]);
  });

  it('tells its exit', async () => {
    const child = await startScript('process.exitCode = 3');
    expect(await child.exited).toEqual({ code: 3, signal: null });
    expect(isRunning(child)).toBe(false);
  });

  it('may drop its output', async () => {
    const child = await startProcess({ command: process.execPath, args: ['-e', 'console.log(1)'], variables: {} });
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  it.each([
    ['/nowhere/at/all', [], 'ENOENT'],
    ['/etc/passwd', [], 'EACCES'],
    [process.execPath, ['\0'], 'ERR_INVALID_ARG_VALUE'],
    [process.execPath, ['x'.repeat(5_000_000)], 'E2BIG'],
  ])('that cannot be started is an error: %s', async (command, args, code) => {
    const starting = startProcess({ command, args, variables: {} });
    await expect(starting).rejects.toMatchObject({ code });
  });
});

describe('an identity', () => {
  it('is that of the process as long as it runs', async () => {
    const child = await startScript(IDLE);
    expect(identify(child.pid)).toEqual({ pid: child.pid, startTime: child.startTime });
    expect(child.startTime).toMatch(/^\d+$/);
    expect(isRunning(child)).toBe(true);
    signalProcess(child, 'SIGKILL');
    await child.exited;
    expect([identify(child.pid), isRunning(child)]).toEqual([undefined, false]);
  });

  it.each([0, -1, 2 ** 22 + 1, Number.NaN])('is none for pid %d', (pid) => expect(identify(pid)).toBeUndefined());

  it('of one that got the pid later is another one, and is never signalled', async () => {
    const child = await startScript(IDLE);
    for (const startTime of ['1', undefined]) {
      const earlier = { pid: child.pid, startTime };
      expect(isRunning(earlier)).toBe(false);
      expect(signalProcess(earlier, 'SIGKILL')).toBe(false);
      expect(await waitUntilGone(earlier, systemClock, 0)).toBe(true);
      expect(await endProcess(earlier, systemClock, 0)).toEqual({ killed: false });
    }
    expect(isRunning(child)).toBe(true);
  });

  it('survives a name with brackets and spaces', async () => {
    const child = await startScript(`process.title = 'a) (b Z'; ${IDLE}`);
    expect(readStartTime(child.pid)).toBe(child.startTime);
  });

  it('is read through ps on other systems, the same in every locale and time zone', async () => {
    const child = await startScript(IDLE);
    const first = readStartTime(child.pid, 'darwin');
    expect(first).toMatch(/^\w{3} \w{3} \d+ \d\d:\d\d:\d\d \d{4}$/);
    const { TZ } = process.env;
    process.env.TZ = 'Asia/Tokyo';
    try {
      expect(readStartTime(child.pid, 'darwin')).toBe(first);
    } finally {
      if (TZ === undefined) delete process.env.TZ;
      else process.env.TZ = TZ;
    }
    signalProcess(child, 'SIGKILL');
    await child.exited;
    expect(readStartTime(child.pid, 'darwin')).toBeUndefined();
  });
});

describe('ending a process', () => {
  it('is left to SIGTERM where that is enough', async () => {
    const child = await startScript(IDLE);
    expect(await endProcess(child, systemClock, 10_000)).toEqual({ killed: false });
    expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('kills one that ignores SIGTERM', async () => {
    const child = await startScript(STUBBORN);
    expect(await endProcess(child, systemClock, 50)).toEqual({ killed: true });
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(isRunning(child)).toBe(false);
  });

  it('that has ended already is done', async () => {
    const child = await startScript('');
    await child.exited;
    expect(signalProcess(child, 'SIGTERM')).toBe(false);
    expect(await endProcess(child, systemClock, 0)).toEqual({ killed: false });
  });

  it('waits no longer than its deadline', async () => {
    const child = await startScript(IDLE);
    expect(await waitUntilGone(child, systemClock, 20)).toBe(false);
  });
});

it('a zombie counts as gone, whoever has to reap it', async () => {
  // The shell becomes a program that never reaps the child it started, and the child ends only after that.
  const script = 'exec 3<&0; (read line <&3) & echo $!; exec sleep 1000';
  const parent = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const [line] = await once(parent.stdout, 'data');
    const zombie = Number(String(line));
    const until = async (file: string, isReached: (text: string) => boolean) => {
      while (!isReached(readFileSync(`/proc/${file}`, 'utf8'))) await sleep(systemClock, 5);
    };
    await until(`${parent.pid}/comm`, (name) => name === 'sleep\n');
    parent.stdin.end('\n');
    await until(`${zombie}/stat`, (stat) => stat.includes(') Z '));
    expect(identify(zombie)).toBeUndefined();
    expect(readStartTime(zombie, 'darwin')).toBeUndefined();
    expect(signalProcess({ pid: zombie, startTime: '1' }, 'SIGTERM')).toBe(false);
  } finally {
    parent.kill('SIGKILL');
    await once(parent, 'close');
  }
});
