import type { CommandContext, LocalContext } from './command-context.js';

/** One flag of a command, or the word behind it. */
export interface OptionDefinition {
  /** `duration` is written as 500ms, 30s or 5m and read as milliseconds; `list` may be repeated. */
  readonly type: 'string' | 'number' | 'boolean' | 'duration' | 'list';
  readonly describe: string;
  /** What stands for the value in the help, for example FILE. */
  readonly value?: string;
  readonly required?: true;
  /** Given as a word behind the command; a command has at most one such. Its flag is understood too. */
  readonly positional?: true;
  /** Another name, which the help does not show. */
  readonly alias?: string;
  readonly default?: string | number;
}

export type OptionTable = Readonly<Record<string, OptionDefinition>>;

type RawValue<D extends OptionDefinition> = D['type'] extends 'boolean'
  ? boolean
  : D['type'] extends 'list'
    ? readonly string[]
    : D['type'] extends 'string'
      ? string
      : number;

type Always<D extends OptionDefinition> = D['type'] extends 'boolean' | 'list'
  ? true
  : D extends { required: true } | { default: string | number }
    ? true
    : false;

/** The values of a table's flags: a flag that may be left out is `undefined`, a boolean `false`, a list empty. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]: Always<T[K]> extends true ? RawValue<T[K]> : RawValue<T[K]> | undefined;
};

interface CommandFacts<T extends OptionTable> {
  readonly options: T;
  /** Whole command lines with what they do. */
  readonly examples: readonly (readonly [string, string])[];
  /** Facts that belong below the flags in the help. */
  readonly notes?: string;
}

/** A command that has to do with a queen; the configuration and the key are read before it runs. */
interface QueenCommand<T extends OptionTable = OptionTable> extends CommandFacts<T> {
  readonly local?: never;
  /** Resolves to the exit code, 0 when nothing is returned. */
  run(options: OptionValues<T>, context: CommandContext): Promise<number | undefined>;
}

/** A command that needs no queen; it runs also where the configuration is wrong. */
interface LocalCommand<T extends OptionTable = OptionTable> extends CommandFacts<T> {
  readonly local: true;
  /** Resolves to the exit code, 0 when nothing is returned. */
  run(options: OptionValues<T>, context: LocalContext): Promise<number | undefined>;
}

export type Command = QueenCommand | LocalCommand;

/** Keeps the types of a command's flags. */
export function defineCommand<const T extends OptionTable>(command: QueenCommand<T>): QueenCommand<T> {
  return command;
}

/** The same for a command that needs no queen. */
export function defineLocalCommand<const T extends OptionTable>(command: LocalCommand<T>): LocalCommand<T> {
  return command;
}
