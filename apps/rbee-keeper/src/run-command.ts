import { userPaths } from '@rbee/daemon-kit/client';
import { type RbeeError, toRbeeError } from '@rbee/protocol';
import type { CommandContext } from './command-context.js';
import type { Invocation } from './command-line.js';
import { Interrupt } from './interrupt.js';
import type { KeeperEnvironment } from './keeper-environment.js';
import { Output } from './output.js';
import { QueenControl } from './queen/queen-control.js';
import { withQueen } from './queen/with-queen.js';
import { errorToJson, renderError } from './render-error.js';
import { type KeeperSettings, readSettings } from './settings.js';
import { UsageError } from './usage-error.js';

type CommandInvocation = Extract<Invocation, { kind: 'command' }>;

/** Runs a command within its surroundings, reports its failure, and resolves to the exit code. */
export async function runCommand(env: KeeperEnvironment, invocation: CommandInvocation): Promise<number> {
  const { command, globals, options } = invocation;
  const output = new Output(env, {
    json: globals.json,
    verbose: globals.verbose,
    noColor: globals['no-color'],
  });
  const interrupt = new Interrupt(env.signals);
  let settings: KeeperSettings | undefined;
  try {
    settings = readSettings(env, globals, options['keep-alive'] as number | undefined);
    const context = createContext(env, invocation, output, interrupt, settings);
    const forced = interrupt.forced.then(() => 130);
    const code = await Promise.race([command.run(options as never, context), forced]);
    return interrupt.signal.aborted ? 130 : (code ?? 0);
  } catch (caught) {
    if (caught instanceof UsageError) throw caught;
    return report(toRbeeError(caught), env, output, interrupt, settings);
  } finally {
    output.clearTransient();
    interrupt.dispose();
  }
}

function createContext(
  env: KeeperEnvironment,
  { entry, globals }: CommandInvocation,
  output: Output,
  interrupt: Interrupt,
  settings: KeeperSettings,
): CommandContext {
  const queen = new QueenControl({ env, globals, output, settings, signal: interrupt.signal });
  return {
    entry,
    env,
    globals,
    output,
    interrupt,
    settings,
    queen,
    withQueen: (work) => withQueen(queen, work),
  };
}

function report(
  error: RbeeError,
  env: KeeperEnvironment,
  output: Output,
  interrupt: Interrupt,
  settings: KeeperSettings | undefined,
): number {
  // A reader such as `head` that has seen enough is no failure.
  if (output.broken.aborted && (output.broken.reason as RbeeError).code === 'CANCELLED') return 0;
  if (output.json) output.object(errorToJson(error));
  const interrupted = interrupt.signal.aborted;
  if (interrupted) {
    output.block('Canceled.');
  } else if (!output.json) {
    output.block(
      renderError(error, {
        palette: output.palette,
        verbose: output.verbose,
        logs: userPaths(env).logs,
        configFile: settings?.configFile,
      }),
    );
  }
  return interrupted ? 130 : 1;
}
