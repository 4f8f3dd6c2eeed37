import { closeSync, fstatSync, openSync } from 'node:fs';
import { open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  type Clock,
  type Exit,
  endProcess,
  isRunning,
  makeStateFolder,
  type ProcessIdentity,
  redact,
  type StartedProcess,
  signalProcess,
  startProcess,
} from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';

const LAST_LINES = 10;
const LAST_BYTES = 16 * 1024;

export interface HiveCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** File that takes the standard output and error of the process. */
  readonly outputFile: string;
  /** Arguments with which the program ends the workers that a killed hive left. */
  readonly cleanUpArgs?: ((hive: ProcessIdentity) => readonly string[]) | undefined;
}

/** How long the workers of a killed hive may take to end. */
const CLEAN_UP_MS = 10_000;

/** A process of which nobody here is the parent is looked at this often. */
const LOOK_MS = 250;

/** A hive on this machine: a child of this process, in a session of its own, or one that an earlier queen has started. */
export class HiveProcess {
  readonly #process: Pick<StartedProcess, 'pid' | 'startTime' | 'exited'>;
  readonly #command: HiveCommand;
  readonly #outputFile: string;
  readonly #outputStart: number;
  /** Settles when the process has ended and was reaped. */
  readonly exited: Promise<Exit>;

  private constructor(
    process: Pick<StartedProcess, 'pid' | 'startTime' | 'exited'>,
    command: HiveCommand,
    outputStart: number,
  ) {
    this.#process = process;
    this.#command = command;
    this.#outputFile = command.outputFile;
    this.#outputStart = outputStart;
    this.exited = process.exited;
  }

  /** Throws HIVE_START_FAILED when the program cannot be started at all. */
  static async start(hive: HiveCommand): Promise<HiveProcess> {
    const { command, args, variables } = hive;
    const outputDescriptor = openOutput(hive.outputFile);
    try {
      // The file also holds what earlier hives wrote; only what follows is this one's.
      const outputStart = fstatSync(outputDescriptor).size;
      return new HiveProcess(await startProcess({ command, args, variables, outputDescriptor }), hive, outputStart);
    } catch (cause) {
      throw toProgramError(cause);
    } finally {
      closeSync(outputDescriptor);
    }
  }

  /** Takes charge of a hive that an earlier queen has started with the same command. */
  static adopt({ pid, startTime }: ProcessIdentity, command: HiveCommand, clock: Clock): HiveProcess {
    const exited = new Promise<Exit>((resolve) => {
      const stop = clock.every(LOOK_MS, () => {
        if (isRunning({ pid, startTime })) return;
        stop();
        // Only its parent could know more.
        resolve({ code: null, signal: null });
      });
    });
    return new HiveProcess({ pid, startTime, exited }, command, 0);
  }

  get identity(): ProcessIdentity {
    return { pid: this.#process.pid, startTime: this.#process.startTime };
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Whether exactly this process still runs. */
  get running(): boolean {
    return isRunning(this.#process);
  }

  /** Tells it to read its configuration and its key again. */
  hangUp(): void {
    signalProcess(this.#process, 'SIGHUP');
  }

  /** The last lines that the process wrote, oldest first. */
  async lastLines(): Promise<string[]> {
    const file = await open(this.#outputFile, 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    // Somebody removed it while the process ran.
    if (!file) return [];
    try {
      const { size } = await file.stat();
      const start = Math.max(this.#outputStart, size - LAST_BYTES);
      const bytes = Buffer.alloc(Math.max(0, size - start));
      await file.read(bytes, 0, bytes.length, start);
      return redact(bytes.toString('utf8'))
        .split('\n')
        .filter((line) => line.trim() !== '')
        .slice(-LAST_LINES);
    } finally {
      await file.close();
    }
  }

  /** Whether nothing more can be written to the disk with its output: then even the reason of its end may be missing. */
  async diskIsFull(): Promise<boolean> {
    return (await statfs(dirname(this.#outputFile))).bavail === 0;
  }

  /** SIGTERM, then SIGKILL after `graceMs`; resolves with whether it had to be killed. No worker of it goes on. */
  async end(clock: Clock, graceMs: number): Promise<{ killed: boolean }> {
    const { killed } = await endProcess(this.#process, clock, graceMs);
    // Only one that ends in order has ended its workers. Somebody else may have killed it in the moment of the SIGTERM.
    if (killed || (await this.exited).code !== 0) await this.endWorkers(clock);
    return { killed };
  }

  /** Ends the workers that this hive, which has been killed, left behind. Those that another hive took over are let be. */
  async endWorkers(clock: Clock): Promise<void> {
    const { command, cleanUpArgs, variables } = this.#command;
    if (!cleanUpArgs) return;
    const cleaner = await startProcess({ command, args: cleanUpArgs(this.#process), variables });
    // What it could not end is left to the next hive.
    await endProcessAfter(cleaner, clock, CLEAN_UP_MS);
  }
}

/** Waits for a process, which is ended when it takes longer. */
async function endProcessAfter(started: StartedProcess, clock: Clock, limitMs: number): Promise<void> {
  const cancel = clock.after(limitMs, () => signalProcess(started, 'SIGKILL'));
  await started.exited;
  cancel();
}

/** The folder may have been removed since the queen started. */
function openOutput(path: string): number {
  makeStateFolder(dirname(path));
  try {
    return openSync(path, 'a', 0o600);
  } catch (cause) {
    throw toOutputError(path, cause);
  }
}

function toOutputError(path: string, cause: unknown): RbeeError {
  const { code } = cause as NodeJS.ErrnoException;
  const why = code ?? 'unknown cause';
  return new RbeeError('HIVE_START_FAILED', `the output file of the hive, ${path}, cannot be written (${why})`, {
    details: { path, cause: code },
    suggestion: `free some space on the disk and check the permissions: ls -l ${path}`,
    cause,
  });
}

function toProgramError(cause: unknown): RbeeError {
  const { code } = cause as NodeJS.ErrnoException;
  return new RbeeError('HIVE_START_FAILED', `the hive program cannot be started (${code ?? 'unknown cause'})`, {
    details: { cause: code },
    suggestion: 'check the installation of rbee-hive: rbee-hive --version',
    cause,
  });
}
