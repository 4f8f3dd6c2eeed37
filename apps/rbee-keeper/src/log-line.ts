import { type Palette, plainPalette } from './palette.js';
import { toPrintableLine } from './printable-text.js';

/** Said by every line, or of no use to people. */
const PLAIN_FIELDS = new Set([
  'time',
  'level',
  'service',
  'msg',
  'correlation_id',
  'actor',
  'action',
  'target',
  'emitted_by',
  'emitted_at_ms',
]);

/** A line of a log for people: JSON lines as `time level service message (fields)`, any other line as it is. */
export function renderLogLine(line: string, palette: Palette = plainPalette): string {
  const entry = parseEntry(line);
  if (!entry) return toPrintableLine(line);
  const { time, level, service, msg } = entry;
  const fields = Object.entries(entry)
    .filter(([name, value]) => !PLAIN_FIELDS.has(name) && value !== null && typeof value !== 'object')
    .map(([name, value]) => `${name}=${value}`);
  const paint = level === 'error' ? palette.red : level === 'warn' ? palette.yellow : (text: string) => text;
  const text = [
    palette.dim(toClockTime(time)),
    paint(toPrintableLine(String(level ?? '')).padEnd(5)),
    palette.cyan(toPrintableLine(String(service ?? ''))),
    paint(toPrintableLine(String(msg))),
    palette.dim(toPrintableLine(fields.join(' '))),
  ];
  return text.filter((part) => part !== '').join(' ');
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === 'object' && entry !== null && 'msg' in entry
      ? (entry as Record<string, unknown>)
      : undefined;
  } catch {
    // Whatever is not a whole JSON line is shown as it is.
    return undefined;
  }
}

function toClockTime(time: unknown): string {
  const date = new Date(typeof time === 'number' || typeof time === 'string' ? time : Number.NaN);
  return Number.isNaN(date.getTime()) ? '' : date.toTimeString().slice(0, 8);
}
