import { parseDuration } from '@rbee/daemon-kit/client';
import type { OptionDefinition, OptionTable } from './command.js';
import type { CommandEntry } from './command-table.js';
import { UsageError } from './usage-error.js';

/** The typed values of a table's flags. Throws UsageError for a missing flag and for a value of the wrong type. */
export function readOptions(
  table: OptionTable,
  parsed: Readonly<Record<string, unknown>>,
  entry: CommandEntry,
): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(table)) values[name] = readOption(name, option, parsed[name], entry);
  return values;
}

function readOption(name: string, option: OptionDefinition, given: unknown, entry: CommandEntry): unknown {
  if (option.type === 'list') return (given as readonly string[] | undefined) ?? [];
  // Of a flag that was repeated the last one counts, so that a shell alias with flags in it can be overruled.
  const value = Array.isArray(given) ? given.at(-1) : given;
  if (option.type === 'boolean') return value === true;
  if (value === undefined) {
    if (option.required) throw new UsageError(`${nameOf(name, option)} is missing: ${option.describe}`, entry);
    return undefined;
  }
  if (option.type === 'string') return value;
  if (option.type === 'number') {
    const number = toNumber(String(value));
    if (number !== undefined) return number;
    throw new UsageError(`--${name} must be a number, not "${value}"`, entry);
  }
  const duration = toDuration(String(value));
  if (duration !== undefined) return duration;
  throw new UsageError(`--${name} must be a duration such as 500ms, 30s or 5m, not "${value}"`, entry);
}

function nameOf(name: string, { positional, value }: OptionDefinition): string {
  return positional && value !== undefined ? value : `--${name}`;
}

function toNumber(text: string): number | undefined {
  const number = Number(text);
  return text.trim() === '' || !Number.isFinite(number) ? undefined : number;
}

/** A bare number other than 0 is refused: it would be read as milliseconds and is mostly meant as seconds. */
function toDuration(text: string): number | undefined {
  return Number(text) ? undefined : parseDuration(text);
}
