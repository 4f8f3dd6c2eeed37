import { execFile } from 'node:child_process';

/** Outcome of a short program: what it printed, or why there is nothing to read. */
type ProgramOutput = { ok: true; stdout: string } | { ok: false; reason: 'missing' | 'failed' | 'too_slow' };

export type RunProgram = (file: string, args: readonly string[]) => Promise<ProgramOutput>;

/** A driver that hangs must not hang the hive: after this the program is killed and counts as absent. */
const DEADLINE_MS = 5_000;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** Runs a program found on the PATH to its end, without a shell. */
export const runProgram: RunProgram = (file, args) =>
  new Promise((resolve) => {
    const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES } as const;
    execFile(file, args, options, (error, stdout) => {
      if (error === null) resolve({ ok: true, stdout });
      else if ('code' in error && error.code === 'ENOENT') resolve({ ok: false, reason: 'missing' });
      else resolve({ ok: false, reason: error.killed ? 'too_slow' : 'failed' });
    });
  });
