import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { errorEventSchema, fromErrorEvent, RbeeError } from '@rbee/protocol';
import type { RunCopy } from './copy-job.js';

export interface CopyProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Bytes of the process's own words that are kept for the log. */
const KEPT_CHARS = 2_000;

/**
 * Does each copy in a process of its own, so that what it costs is not paid by token streams. The job goes to its
 * standard input, which stays open: the process ends when that closes, so it never outlives the queen.
 */
export function copyInProcess({ command, args, variables }: CopyProgram): RunCopy {
  return async (job, signal) => {
    signal.throwIfAborted();
    const child = spawn(command, [...args], { stdio: ['pipe', 'pipe', 'pipe'], env: variables as NodeJS.ProcessEnv });
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => resolve(`it cannot be started (${error.code})`));
      child.once('close', (code, by) => resolve(by === null ? `exit code ${code}` : `signal ${by}`));
    });
    const kill = () => child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    try {
      writeJob(child.stdin, job);
      const [said, words, end] = await Promise.all([readAll(child.stdout), readAll(child.stderr), ended]);
      signal.throwIfAborted();
      readVerdict(said, words, end);
    } finally {
      signal.removeEventListener('abort', kill);
    }
  };
}

function writeJob(stdin: Writable, job: unknown): void {
  // A process that ends before it has read everything says why by its exit code.
  stdin.on('error', () => undefined);
  stdin.write(`${JSON.stringify(job)}\n`);
}

/** A stream of a process that could not be started breaks. */
function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  return text(stream).catch(() => '');
}

/** The last line of the output is the verdict: an empty object, or the error event. Throws that error. */
function readVerdict(said: string, words: string, end: string): void {
  const verdict = parseLine(said.trim().split('\n').at(-1) ?? '');
  if (verdict && Object.keys(verdict).length === 0) return;
  const failure = errorEventSchema.safeParse(verdict);
  if (failure.success) throw fromErrorEvent(failure.data);
  throw new RbeeError('DOWNLOAD_FAILED', `the process that copies a model ended without a result (${end})`, {
    details: { end },
    cause: new Error(words.slice(-KEPT_CHARS)),
  });
}

function parseLine(line: string): object | undefined {
  try {
    return JSON.parse(line) as object;
  } catch {
    // No verdict: the caller says so.
    return undefined;
  }
}
