import { closeSync, fstatSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type Clock,
  type Exit,
  isRunning,
  makeStateFolder,
  type ProcessIdentity,
  readLastLines,
  signalProcess,
  startProcess,
} from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { LineFollower } from '../logs/line-follower.js';

/** Lines of output that explain a failed start. */
const EXPLAINING_LINES = 12;

/** How often it is looked whether a process that is no child still runs; where that takes a program of its own, less often. */
const LOOK_MS = process.platform === 'linux' ? 200 : 1_000;

/** The program that a worker process runs, with the Node.js that runs the hive. */
export interface WorkerProgram {
  readonly path: string;
  /** For Node.js itself, before the path. */
  readonly nodeArguments?: readonly string[];
  /** Before those of the single worker. */
  readonly arguments?: readonly string[];
}

export interface ProcessPlan {
  program: WorkerProgram;
  args: readonly string[];
  variables: Readonly<Record<string, string | undefined>>;
  logFile: string;
}

/** Log file of a worker: what its process writes to standard output and error. */
export function workerLogFile(logDir: string, workerId: string): string {
  return join(logDir, `worker-${workerId.replace(/^worker-/, '')}.log`);
}

/**
 * A worker's operating system process. Its output goes into its log file by itself, without the hive in between, so that
 * a worker does not die with the hive's pipe; the hive reads along.
 */
export class WorkerProcess {
  /** The newest lines of output, oldest first. */
  readonly lastLines: string[] = [];
  /** Settles when the process has ended and everything it wrote was read. */
  readonly ended: Promise<Exit>;
  private following: Promise<LineFollower> | undefined;

  private constructor(
    readonly identity: ProcessIdentity,
    exited: Promise<Exit>,
    private readonly log: { file: string; start: number },
    private readonly stopLooking: () => void = () => undefined,
  ) {
    this.ended = exited.then(async (exit) => {
      // Output that can't be read any more only costs an explanation, never the news of the end.
      await this.following?.then((follower) => follower.finish()).catch(() => undefined);
      return exit;
    });
  }

  /** Starts the process. Throws WORKER_BINARY_NOT_FOUND or WORKER_SPAWN_FAILED. */
  static async start({ program, args, variables, logFile }: ProcessPlan): Promise<WorkerProcess> {
    await requireProgram(program.path);
    const output = openLog(logFile);
    const { size } = fstatSync(output);
    const started = await startProcess({
      command: process.execPath,
      args: [...(program.nodeArguments ?? []), program.path, ...(program.arguments ?? []), ...args],
      variables,
      outputDescriptor: output,
    })
      .catch((cause: NodeJS.ErrnoException) => {
        throw new RbeeError('WORKER_SPAWN_FAILED', `the worker process could not be started: ${cause.message}`, {
          details: { cause: cause.code },
          suggestion: 'look into the hive log: rbee-keeper logs --node localhost',
          cause,
        });
      })
      .finally(() => closeSync(output));
    const { pid, startTime, exited } = started;
    return new WorkerProcess({ pid, startTime }, exited, { file: logFile, start: size });
  }

  /**
   * Takes over a process that another hive started. It is no child of this one: its end shows only by looking, and how it ended
   * nobody knows. What it wrote before is not read again, except as the newest lines.
   */
  static async adopt(identity: ProcessIdentity, logFile: string, clock: Clock): Promise<WorkerProcess> {
    const { size } = await stat(logFile).catch(() => ({ size: 0 }));
    // They only explain an end; that its output cannot be read is noted by whoever follows it.
    const lines = await readLastLines(logFile, EXPLAINING_LINES).catch(() => []);
    let stopLooking: () => void = () => undefined;
    const exited = new Promise<Exit>((resolve) => {
      stopLooking = clock.every(LOOK_MS, () => {
        if (isRunning(identity)) return;
        stopLooking();
        resolve({ code: null, signal: null });
      });
    });
    const adopted = new WorkerProcess(identity, exited, { file: logFile, start: size }, () => stopLooking());
    adopted.lastLines.push(...lines);
    return adopted;
  }

  /** Stops looking after a process that goes on. */
  async letGo(): Promise<void> {
    this.stopLooking();
    await this.following?.then((follower) => follower.finish());
  }

  /** Reads along what the process writes, from its beginning on. */
  async follow(clock: Clock, onLine: (line: string) => void): Promise<void> {
    this.following = LineFollower.start(this.log.file, this.log.start, clock, (line) => {
      this.lastLines.push(line);
      if (this.lastLines.length > EXPLAINING_LINES) this.lastLines.shift();
      onLine(line);
    });
    await this.following;
  }

  /** Resolves when everything that was written until now has been read. */
  async catchUp(): Promise<void> {
    await (await this.following)?.catchUp();
  }

  get pid(): number {
    return this.identity.pid;
  }

  /** Sends a signal to exactly this process; false when it has gone. */
  signal(signal: NodeJS.Signals): boolean {
    return signalProcess(this.identity, signal);
  }
}

function openLog(path: string): number {
  makeStateFolder(dirname(path));
  try {
    return openSync(path, 'a', 0o600);
  } catch (cause) {
    throw toLogError(path, cause as NodeJS.ErrnoException);
  }
}

function toLogError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  const why = full ? 'the disk is full' : (cause.code ?? 'unknown cause');
  return new RbeeError('WORKER_SPAWN_FAILED', `the worker's log ${path} cannot be written: ${why}`, {
    details: { path, cause: cause.code },
    suggestion: full ? 'free some space, then repeat the command' : 'give the user of the hive write permission on it',
    cause,
  });
}

async function requireProgram(path: string): Promise<void> {
  const present = await stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
  if (present) return;
  throw new RbeeError('WORKER_BINARY_NOT_FOUND', 'the worker program llm-worker-rbee is not installed on this node', {
    details: { worker_type: 'llm-worker-rbee' },
    suggestion: 'install it: rbee-keeper setup install --node NAME (in a checkout of the project: pnpm build)',
  });
}
