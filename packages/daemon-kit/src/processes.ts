import { type ChildProcess, type ExecFileSyncOptionsWithStringEncoding, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Clock, sleep } from './clock.js';

/** A process as it was when it was met: a pid alone may have been given to another one since. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque text that differs between two processes with the same pid; `undefined` when it had ended before. */
  readonly startTime: string | undefined;
}

/** When a process started, as an opaque text; `undefined` when there is no such process. */
export function readStartTime(pid: number, platform: NodeJS.Platform = process.platform): string | undefined {
  try {
    if (platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The name may hold spaces and brackets: fields are counted behind its last bracket. 22nd field of proc(5).
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? undefined : fields[19];
    }
    // Locale and time zone would change the text between two processes that compare it.
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
    const options: ExecFileSyncOptionsWithStringEncoding = {
      encoding: 'utf8',
      timeout: 2000,
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    };
    const [state, ...start] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], options)
      .trim()
      .split(/\s+/);
    return state?.startsWith('Z') ? undefined : start.join(' ') || undefined;
  } catch (error) {
    const { code, status } = error as NodeJS.ErrnoException & { status?: number };
    if (code === 'ENOENT' || code === 'ESRCH' || status === 1) return undefined;
    throw error;
  }
}

/** The identity of a running process; `undefined` when there is none with this pid. */
export function identify(pid: number): ProcessIdentity | undefined {
  const startTime = readStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

/**
 * Whether exactly this process still runs. A zombie that waits to be reaped does not count, nor does a process that had
 * ended before its start time could be read: its pid says nothing any more.
 */
export function isRunning(identity: ProcessIdentity): boolean {
  return identity.startTime !== undefined && readStartTime(identity.pid) === identity.startTime;
}

/** Sends a signal to exactly this process; false when it has gone. Never hits a process that got the pid later. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until a process, also one that is no child of this one, has gone; false when it still runs at the deadline. */
export async function waitUntilGone(identity: ProcessIdentity, clock: Clock, timeoutMs: number): Promise<boolean> {
  const end = clock.monotonic() + timeoutMs;
  // There is no event for the end of a process that is not a child.
  for (let pauseMs = 5; isRunning(identity); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (clock.monotonic() >= end) return false;
    await sleep(clock, pauseMs);
  }
  return true;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process that was started. */
export interface StartedProcess extends ProcessIdentity {
  readonly child: ChildProcess;
  /** Settles when the process has ended and was reaped. */
  readonly exited: Promise<Exit>;
}

export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** File descriptor that takes standard output and error; without one they are dropped. */
  readonly outputDescriptor?: number | undefined;
}

/**
 * Starts a process in a session of its own, so that the terminal's Ctrl+C reaches only whoever started it. It does not
 * keep this process alive. Rejects with the system's error when it cannot be started.
 */
export async function startProcess(options: StartOptions): Promise<StartedProcess> {
  const output = options.outputDescriptor ?? 'ignore';
  const child = spawn(options.command, [...options.args], {
    detached: true,
    stdio: ['ignore', output, output],
    env: options.variables as NodeJS.ProcessEnv,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.unref();
  const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      const pid = child.pid as number;
      resolve({ pid, startTime: readStartTime(pid), child, exited });
    });
  });
}

/** SIGTERM, then SIGKILL after `graceMs`. Resolves with whether it had to be killed, once the process has gone. */
export async function endProcess(
  identity: ProcessIdentity,
  clock: Clock,
  graceMs: number,
): Promise<{ killed: boolean }> {
  signalProcess(identity, 'SIGTERM');
  if (await waitUntilGone(identity, clock, graceMs)) return { killed: false };
  const killed = signalProcess(identity, 'SIGKILL');
  await waitUntilGone(identity, clock, 5000);
  return { killed };
}
