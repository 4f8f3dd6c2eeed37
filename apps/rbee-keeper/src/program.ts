import { VERSION } from '@rbee/protocol';
import { readCommandLine } from './command-line.js';
import type { KeeperEnvironment } from './keeper-environment.js';
import { renderUsageError, UsageError, usageErrorToJson } from './usage-error.js';

/** Runs one command line and resolves to its exit code: 0 done, 1 failed, 2 not understood, 130 interrupted. */
export async function runProgram(env: KeeperEnvironment): Promise<number> {
  // A reader that leaves early, as head does, is no failure; commands notice it by themselves.
  for (const sink of [env.stdout, env.stderr]) sink.on('error', () => undefined);
  try {
    const invocation = await readCommandLine(env.args, env.stdout.columns || 100);
    if (invocation.kind === 'help') {
      env.stdout.write(invocation.text);
      return 0;
    }
    if (invocation.kind === 'version') {
      env.stdout.write(`${invocation.json ? JSON.stringify({ version: VERSION }) : VERSION}\n`);
      return 0;
    }
    // Everything that a command needs beyond its name is loaded only now.
    const { runCommand } = await import('./run-command.js');
    return await runCommand(env, invocation);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    if (env.args.includes('--json')) env.stdout.write(`${JSON.stringify(usageErrorToJson(error))}\n`);
    env.stderr.write(renderUsageError(error));
    return 2;
  }
}
