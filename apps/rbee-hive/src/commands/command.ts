import type { ParseArgsConfig, parseArgs } from 'node:util';
import type { Environment, SignalSource } from '@rbee/daemon-kit';
import type { HiveInstallation } from '../app.js';

/** What a command is run with. */
export interface CommandContext {
  readonly environment: Environment;
  readonly signals: SignalSource;
  /** What the hive is built from. */
  readonly installation: HiveInstallation;
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Flags<O extends Options> = ReturnType<typeof parseArgs<{ options: O }>>['values'];

/** One command of the command line. */
export interface Command {
  /** Its name: one word, or a noun and a verb. */
  readonly name: string;
  /** The command with its options, as a usage error shows it. */
  readonly usage: string;
  readonly options: Options;
  /** Resolves with the exit code. Throws UsageError for values that make no sense. */
  run(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<number>;
}

/** A command whose flags have the types of its options. */
export function defineCommand<const O extends Options>(
  command: Omit<Command, 'options' | 'run'> & {
    readonly options: O;
    run(flags: Flags<O>, context: CommandContext): Promise<number>;
  },
): Command {
  return command as unknown as Command;
}

/** The command line makes no sense; shown with the usage of the command, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Writes a result for programs: one line of JSON. */
export function printJson({ stdout }: Pick<Environment, 'stdout'>, value: unknown): void {
  stdout.write(`${JSON.stringify(value)}\n`);
}
