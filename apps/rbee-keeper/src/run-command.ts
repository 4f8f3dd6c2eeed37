import { redact } from '@rbee/daemon-kit/client';
import { isRbeeError, type RbeeError } from '@rbee/protocol';
import type { CommandContext, LocalContext } from './command-context.js';
import type { Invocation } from './command-line.js';
import { Interrupt } from './interrupt.js';
import type { KeeperEnvironment } from './keeper-environment.js';
import { Output } from './output.js';
import { toPrintable } from './printable-text.js';
import { QueenControl } from './queen/queen-control.js';
import { withQueen } from './queen/with-queen.js';
import { errorToJson, toSentence } from './render-error.js';
import { reportError } from './report-error.js';
import { type KeeperSettings, readSettings } from './settings.js';
import { UsageError } from './usage-error.js';

type CommandInvocation = Extract<Invocation, { kind: 'command' }>;

/** Runs a command within its surroundings, reports its failure, and resolves to the exit code. */
export async function runCommand(env: KeeperEnvironment, invocation: CommandInvocation): Promise<number> {
  const { command, entry, globals, options } = invocation;
  const output = new Output(env, { json: globals.json, verbose: globals.verbose, noColor: globals['no-color'] });
  const interrupt = new Interrupt(env.signals);
  let settings: KeeperSettings | undefined;
  let queen: QueenControl | undefined;
  const surroundings: LocalContext = { entry, env, globals, output, interrupt };
  try {
    let running: Promise<number | undefined>;
    if (command.local) {
      running = command.run(options as never, surroundings);
    } else {
      settings = readSettings(env, globals, options['keep-alive'] as number | undefined);
      const control = new QueenControl({ env, globals, output, settings, signal: interrupt.signal });
      queen = control;
      const context: CommandContext = {
        ...surroundings,
        settings,
        queen: control,
        withQueen: (work) => withQueen(control, work),
      };
      running = command.run(options as never, context);
    }
    const forced = interrupt.forced.then(() => 130);
    const code = await Promise.race([running, forced]);
    return interrupt.signal.aborted ? 130 : (code ?? 0);
  } catch (caught) {
    if (caught instanceof UsageError) throw caught;
    if (interrupt.signal.aborted) return tellCancellation(output, interrupt, caught);
    // A reader such as `head` that has seen enough is no failure.
    if (output.hasLostReader) return 0;
    reportError(caught, { env, output, settings });
    return 1;
  } finally {
    queen?.close();
    output.clearTransient();
    interrupt.dispose();
  }
}

/**
 * What a command says about its own cancellation, such as how to go on, counts more than the signal's reason. With `goes_on` in its details
 * nothing was cancelled.
 */
function tellCancellation(output: Output, { signal }: Interrupt, caught: unknown): number {
  const error = isRbeeError(caught) && caught.code === 'CANCELLED' ? caught : (signal.reason as RbeeError);
  if (output.json) output.object(errorToJson(error));
  if (error.details.goes_on !== true) output.tellCancellation();
  if (error.suggestion !== undefined && !output.json) output.block(toPrintable(redact(toSentence(error.suggestion))));
  return 130;
}
