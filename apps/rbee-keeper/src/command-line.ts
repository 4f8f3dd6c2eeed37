import { didYouMean } from '@rbee/daemon-kit/client';
import yargs, { type Argv, type Options } from 'yargs';
import type { Command, OptionDefinition, OptionTable } from './command.js';
import { type CommandEntry, commandTable, groupAliases, groupSummaries } from './command-table.js';
import { type GlobalOptions, globalOptions } from './global-options.js';
import { readOptions } from './read-options.js';
import { renderCommandHelp, renderGroupHelp, renderProgramHelp } from './render-help.js';
import { UsageError } from './usage-error.js';

/** What a command line asks for. */
export type Invocation =
  | { readonly kind: 'version'; readonly json: boolean }
  | { readonly kind: 'help'; readonly text: string }
  | {
      readonly kind: 'command';
      readonly entry: CommandEntry;
      readonly command: Command;
      readonly options: Readonly<Record<string, unknown>>;
      readonly globals: GlobalOptions;
    };

type Parsed = Readonly<Record<string, unknown>> & { readonly _: readonly (string | number)[] };

/** Reads a command line. Loads the one command that it names, and throws UsageError when it cannot be understood. */
export async function readCommandLine(args: readonly string[], columns: number): Promise<Invocation> {
  let chosen: { entry: CommandEntry; command: Command } | undefined;
  let named: CommandEntry | undefined;
  const parser = createParser(async (entry, inner) => {
    named = entry;
    const command = await entry.load();
    chosen = { entry, command };
    inner.options(toYargsOptions(command.options));
  });
  let parsed: Parsed;
  try {
    parsed = (await parser.parseAsync(joinDashedValues(args))) as Parsed;
  } catch (error) {
    throw (error as Error).name === 'YError' ? toUsageError((error as Error).message, named) : error;
  }
  const table = { ...globalOptions, ...chosen?.command.options };
  const noun = readNoun(parsed);
  if (parsed.help || (noun === undefined && !parsed.version && findUnknownFlag(parsed, table) === undefined)) {
    return { kind: 'help', text: renderHelp(chosen, noun, columns) };
  }
  if (!chosen && !parsed.version) throw explainMissingCommand(parsed, table);
  const flag = findUnknownFlag(parsed, table);
  if (flag !== undefined) throw explainUnknownFlag(flag, table, named);
  if (parsed.version) return { kind: 'version', json: parsed.json === true };
  const { entry, command } = chosen as { entry: CommandEntry; command: Command };
  const words = readWords(parsed, entry, command.options);
  return {
    kind: 'command',
    entry,
    command,
    options: readOptions(command.options, { ...parsed, ...words }, entry),
    globals: readOptions(globalOptions, parsed, entry) as GlobalOptions,
  };
}

/** The word behind a command that takes one, under its name. Throws UsageError for any other. */
function readWords(parsed: Parsed, entry: CommandEntry, table: OptionTable): Readonly<Record<string, string>> {
  const words = parsed._.slice(entry.path.length).map(String);
  const name = Object.keys(table).find((key) => table[key]?.positional);
  const [extra] = name === undefined ? words : words.slice(1);
  if (extra !== undefined) {
    const why = name === undefined ? ': values belong to a flag' : '';
    throw new UsageError(`${extra} is one word too many${why}`, entry);
  }
  const [word] = words;
  if (name === undefined || word === undefined) return {};
  if (parsed[name] === undefined) return { [name]: word };
  throw new UsageError(`${word} and --${name} exclude each other: give one`, entry);
}

/** Ties a value that begins with a dash and has a space in it, such as a prompt, to the flag before it. */
export function joinDashedValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const previous = joined.at(-1);
    const isValue = /^-\S*\s/.test(arg) && !/^--[\w-]+=/.test(arg);
    if (isValue && previous !== undefined && /^--[\w-]+$/.test(previous))
      joined[joined.length - 1] = `${previous}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}

function createParser(load: (entry: CommandEntry, inner: Argv) => Promise<void>): Argv {
  const outer = yargs()
    .scriptName('rbee-keeper')
    .detectLocale(false)
    .exitProcess(false)
    .help(false)
    .version(false)
    .showHelpOnFail(false)
    .fail(false)
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'greedy-arrays': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'short-option-groups': false,
    })
    .options(toYargsOptions(globalOptions))
    .alias('help', 'h');
  const register = (parser: Argv, name: string, entry: CommandEntry) =>
    parser.command(name, entry.summary, (inner) => load(entry, inner).then(() => inner));
  for (const entry of commandTable) if (entry.path.length === 1) register(outer, entry.path[0], entry);
  for (const [noun, summary] of Object.entries(groupSummaries)) {
    const aliases = Object.keys(groupAliases).filter((alias) => groupAliases[alias] === noun);
    outer.command([noun, ...aliases], summary, (group) => {
      for (const entry of commandTable) {
        const [first, verb] = entry.path;
        if (first === noun && verb) register(group, verb, entry);
      }
      return group;
    });
  }
  return outer;
}

function toYargsOptions(table: OptionTable): Record<string, Options> {
  return Object.fromEntries(Object.entries(table).map(([name, option]) => [name, toYargsOption(option)]));
}

function toYargsOption(option: OptionDefinition): Options {
  const alias = option.alias ?? [];
  if (option.type === 'boolean') return { type: 'boolean', alias };
  if (option.type === 'list') return { type: 'array', string: true, requiresArg: true, alias };
  // Numbers too are read as text, so that nothing is taken for a number that is none.
  return { type: 'string', requiresArg: true, default: option.default, alias };
}

function renderHelp(
  chosen: { entry: CommandEntry; command: Command } | undefined,
  noun: string | undefined,
  columns: number,
): string {
  if (chosen) return renderCommandHelp(chosen.entry, chosen.command, columns);
  return noun !== undefined && Object.hasOwn(groupSummaries, noun)
    ? renderGroupHelp(noun, columns)
    : renderProgramHelp(columns);
}

function toUsageError(message: string, entry: CommandEntry | undefined): UsageError {
  const [, flag] = /^Not enough arguments following: (.+)$/.exec(message) ?? [];
  if (flag === undefined) return new UsageError(message, entry);
  return new UsageError(`--${flag} needs a value; one that begins with a dash is written --${flag}=VALUE`, entry);
}

function findUnknownFlag(parsed: Parsed, table: OptionTable): string | undefined {
  const aliases = Object.values(table).map(({ alias }) => alias);
  const known = new Set<string | undefined>(['_', '$0', 'h', ...Object.keys(table), ...aliases]);
  return Object.keys(parsed).find((key) => !known.has(key));
}

function explainUnknownFlag(flag: string, table: OptionTable, entry: CommandEntry | undefined): UsageError {
  const typed = flag.length === 1 ? `-${flag}` : `--${flag}`;
  const near = didYouMean(flag, Object.keys(table));
  return new UsageError(`unknown flag ${typed}`, entry, near && `--${near}`);
}

/** Nouns of commands that this version does not have. */
const PLANNED = new Set(['install', 'catalog', 'audit']);

/** The first word, by its own name where it is another one for a noun. */
function readNoun(parsed: Parsed): string | undefined {
  const [first] = parsed._.map(String);
  return first !== undefined && Object.hasOwn(groupAliases, first) ? groupAliases[first] : first;
}

function explainMissingCommand(parsed: Parsed, table: OptionTable): UsageError {
  const noun = readNoun(parsed);
  const verb = parsed._.map(String)[1];
  if (noun === undefined) {
    const flag = findUnknownFlag(parsed, table) as string;
    return explainUnknownFlag(flag, table, undefined);
  }
  const verbs = commandTable.flatMap(({ path }) => (path[0] === noun && path[1] ? [path[1]] : []));
  if (verbs.length > 0) {
    if (verb === undefined) return new UsageError(`${noun} needs one of: ${verbs.join(', ')}`, undefined);
    const near = didYouMean(verb, verbs);
    return new UsageError(`unknown command ${noun} ${verb}`, undefined, near && `rbee-keeper ${noun} ${near}`);
  }
  const message = PLANNED.has(noun) ? `${noun} is not there yet in this version` : `unknown command ${noun}`;
  const near = guessCommand(noun);
  return new UsageError(message, undefined, near && `rbee-keeper ${near}`);
}

/** The command that a mistyped noun means, or that a verb without its noun means where only one noun has it. */
function guessCommand(word: string): string | undefined {
  const whole = commandTable.filter(({ path }) => path[1] === word);
  if (whole.length > 0) return whole.length === 1 ? whole[0]?.path.join(' ') : undefined;
  return didYouMean(word, [...new Set(commandTable.map(({ path }) => path[0]))]);
}
