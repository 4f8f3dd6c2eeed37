import { execFile } from 'node:child_process';
import { RbeeError } from '@rbee/protocol';

/** Runs a program of the system to its end. Throws INSTALL_FAILED with what it said. */
export type RunTool = (file: string, args: readonly string[]) => Promise<void>;

const DEADLINE_MS = 30_000;

/** Runs programs that are found on the PATH of `variables`. `advice` is what a user can do when one fails. */
export function toolRunner(variables: Readonly<Record<string, string | undefined>>, advice: string): RunTool {
  return (file, args) =>
    new Promise((resolve, reject) => {
      const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', env: variables as NodeJS.ProcessEnv } as const;
      execFile(file, args, options, (error, stdout, stderr) => {
        if (error === null) resolve();
        else reject(toToolError([file, ...args].join(' '), error, `${stderr}${stdout}`, advice));
      });
    });
}

function toToolError(command: string, error: Error, output: string, suggestion: string): RbeeError {
  const { code, killed } = error as Error & { code?: string | number; killed?: boolean };
  const lines = output.trim().split('\n').slice(-20);
  const said = lines.filter((line) => line.trim() !== '').join(' ');
  const why =
    code === 'ENOENT' ? 'there is no such program' : killed ? 'it took too long' : said || `exit code ${code}`;
  return new RbeeError('INSTALL_FAILED', `the service cannot be set up: ${command}: ${why}`, {
    details: { step: 'service', last_output: lines },
    suggestion,
    cause: error,
  });
}
