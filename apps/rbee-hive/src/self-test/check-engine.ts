import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, formatDuration, type StartedProcess, startProcess, withTimeout } from '@rbee/daemon-kit';
import type { WorkerProgram } from '../workers/worker-process.js';

export interface EngineCheckOptions {
  /** Takes the worker's output. */
  readonly folder: string;
  readonly clock: Clock;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

const TIMEOUT_MS = 60_000;

interface Answer {
  readonly ok: boolean;
  readonly message: string;
}

/** Lets the worker program load its engine for the CPU. Throws when that fails or takes too long. */
export async function checkEngine(program: WorkerProgram, options: EngineCheckOptions): Promise<string> {
  const { folder, clock, variables } = options;
  const outputFile = join(folder, 'worker.out');
  const outputDescriptor = openSync(outputFile, 'w', 0o600);
  let worker: StartedProcess;
  try {
    worker = await startProcess({
      command: process.execPath,
      args: [...(program.nodeArguments ?? []), program.path, ...(program.arguments ?? []), '--self-test'],
      variables: { ...variables, UV_THREADPOOL_SIZE: '1' },
      outputDescriptor,
    });
  } finally {
    closeSync(outputDescriptor);
  }
  const { pid, exited } = worker;
  const tooLong = () => new Error(`the engine was not loaded within ${formatDuration(TIMEOUT_MS)}`);
  const { code, signal } = await withTimeout(clock, TIMEOUT_MS, exited, tooLong).catch(async (error: unknown) => {
    // With its children: the engine tries its binary in a process of its own.
    killGroup(pid);
    await exited;
    throw error;
  });
  const lines = (await readFile(outputFile, 'utf8')).trim().split('\n');
  const answer = lines.map(parseAnswer).findLast((found) => found !== undefined);
  if (answer?.ok && code === 0) return answer.message;
  const how = signal ?? `exit code ${code}`;
  throw new Error(answer?.message ?? `the worker program ended with ${how}: ${lines.at(-1) || 'no output'}`);
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    // It has ended in this moment.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function parseAnswer(line: string): Answer | undefined {
  try {
    const answer = JSON.parse(line) as Partial<Answer> | null;
    return typeof answer?.ok === 'boolean' && typeof answer.message === 'string' ? (answer as Answer) : undefined;
  } catch {
    return undefined;
  }
}
