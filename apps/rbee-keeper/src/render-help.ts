import type { Command, OptionDefinition, OptionTable } from './command.js';
import { type CommandEntry, commandTable, groupSummaries } from './command-table.js';
import { globalOptions } from './global-options.js';

const NARROWEST = 60;
const WIDEST = 110;
const GAP = 3;

/** The help of the whole program. */
export function renderProgramHelp(columns: number): string {
  return join([
    ['Run language models on the machines you own.'],
    ['Usage: rbee-keeper <command> [options]'],
    section('Commands:', commandTable.map(toCommandRow), columns),
    optionSection('Options of every command:', globalOptions, columns),
    ['Examples:', ...renderExample('rbee-keeper infer --prompt "write a short story"', 'One answer')],
    renderExample('rbee-keeper chat', 'A conversation'),
    ['Help for one command: rbee-keeper <command> --help'],
  ]);
}

/** The help of the commands of one noun. */
export function renderGroupHelp(noun: string, columns: number): string {
  const rows = commandTable.filter(({ path }) => path[0] === noun).map(toCommandRow);
  return join([
    [`${groupSummaries[noun]}.`],
    [`Usage: rbee-keeper ${noun} <command> [options]`],
    section('Commands:', rows, columns),
    optionSection('Options of every command:', globalOptions, columns),
  ]);
}

/** The help of one command. */
export function renderCommandHelp(entry: CommandEntry, command: Command, columns: number): string {
  const [first, ...others] = command.examples.map(([line, does]) => renderExample(line, does));
  return join([
    [`${entry.summary}.`],
    [`Usage: rbee-keeper ${entry.usage}`],
    optionSection('Options:', command.options, columns),
    command.notes === undefined ? [] : wrap(command.notes, clamp(columns)),
    optionSection('Options of every command:', globalOptions, columns),
    first === undefined ? [] : ['Examples:', ...first],
    ...others,
  ]);
}

function toCommandRow({ path, summary }: CommandEntry): [string, string] {
  return [path.join(' '), summary];
}

function optionSection(title: string, table: OptionTable, columns: number): string[] {
  const rows = Object.entries(table).map(([name, option]): [string, string] => [
    option.positional && option.value !== undefined
      ? option.value
      : `${name === 'help' ? '-h, ' : ''}--${name}${placeholder(option)}`,
    `${option.describe}${option.default === undefined ? '' : ` (default ${option.default})`}`,
  ]);
  return rows.length === 0 ? [] : section(title, rows, columns);
}

function placeholder({ type, value }: OptionDefinition): string {
  if (type === 'boolean') return '';
  return ` ${value ?? (type === 'number' ? 'N' : type === 'duration' ? 'TIME' : 'TEXT')}`;
}

function section(title: string, rows: readonly (readonly [string, string])[], columns: number): string[] {
  const indent = 2 + Math.max(...rows.map(([name]) => name.length)) + GAP;
  const width = clamp(columns) - indent;
  return [
    title,
    ...rows.flatMap(([name, text]) =>
      wrap(text, width).map((line, index) => `${(index === 0 ? `  ${name}` : '').padEnd(indent)}${line}`),
    ),
  ];
}

/** Command lines are never wrapped, so that they can be copied. */
function renderExample(line: string, does: string): string[] {
  return [`  # ${does}`, `  ${line}`];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function join(sections: readonly (readonly string[])[]): string {
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function clamp(columns: number): number {
  return Math.min(Math.max(columns, NARROWEST), WIDEST);
}
