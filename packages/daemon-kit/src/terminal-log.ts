import type { DestinationStream } from 'pino';

/** Fields that say nothing new on the screen of the one process that wrote them. */
const HIDDEN = new Set([
  'time',
  'level',
  'service',
  'msg',
  'emitted_by',
  'emitted_at_ms',
  'correlation_id',
  'target',
  'action',
]);

/**
 * Where a daemon's log lines go on its standard error: as they are, or in a form for people when that is a terminal. When
 * nobody reads them any more, lines are dropped; a broken pipe does not end a daemon.
 */
export function terminalLog(stream: NodeJS.WriteStream): DestinationStream {
  let broken = false;
  stream.on('error', () => {
    broken = true;
  });
  return {
    write(line: string) {
      if (!broken) stream.write(stream.isTTY ? `${toReadableLine(line)}\n` : line);
    },
  };
}

/** Line ends, and the separators that a terminal may break a line at. */
const LINE_ENDS = /\r\n|[\r\n\v\f\u0085\u2028\u2029]/g;
/** Controls but the tab, characters without width, and those that turn the direction of writing. */
const UNPRINTABLE = /[^\P{Cc}\t]|[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/gu;

/**
 * Text on one line that cannot steer a terminal, hide in it or forge a line: line ends become spaces, whatever else is not
 * printed becomes U+FFFD.
 */
function toTerminalText(text: string): string {
  return text.replace(LINE_ENDS, ' ').replace(UNPRINTABLE, '\ufffd');
}

/** One JSON log line as `time level message key=value …`; what is not JSON stays as it is, but for what a terminal obeys. */
export function toReadableLine(line: string): string {
  return toTerminalText(toLine(line));
}

function toLine(line: string): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line.trimEnd();
  }
  const time = typeof record.time === 'string' ? record.time.slice(11, 19) : '';
  const said = typeof record.actor === 'string';
  const head = `${time} ${String(record.level).padEnd(5)} ${said ? `[${record.actor}] ` : ''}${String(record.msg)}`;
  if (said) return head;
  const fields = Object.entries(record)
    .filter(([key, value]) => !HIDDEN.has(key) && value !== undefined && value !== null)
    .map(([key, value]) => `${key}=${typeof value === 'object' && value !== null ? summarize(value) : String(value)}`);
  return [head, ...fields].join('  ');
}

function summarize(value: object): string {
  const { message, error_code } = value as { message?: unknown; error_code?: unknown };
  if (typeof message === 'string') return typeof error_code === 'string' ? `${error_code}: ${message}` : message;
  return JSON.stringify(value);
}
