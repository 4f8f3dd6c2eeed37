import { RbeeError } from '@rbee/protocol';
import type { CommandContext } from './command-context.js';
import { renderLogLine } from './log-line.js';
import { toPrintableLine } from './printable-text.js';
import type { LogQuery, QueenClient } from './queen/queen-client.js';

const MAX_LINE_CHARS = 1024 * 1024;

/** Prints log lines as they arrive, until the stream ends, the user gives up, or the reader of standard output has gone. */
export async function printLogs(
  queen: QueenClient,
  query: LogQuery,
  { output, interrupt }: Pick<CommandContext, 'output' | 'interrupt'>,
): Promise<void> {
  const ended = AbortSignal.any([interrupt.signal, output.broken]);
  const decoder = new TextDecoder();
  const print = (line: string) => output.laidOut(renderLine(line, output));
  let rest = '';
  for await (const chunk of await queen.logs(query, ended)) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARS) throw new RbeeError('INVALID_RESPONSE', 'a log line is too long to be one');
    let isRead = true;
    for (const line of lines) isRead = print(line);
    if (!isRead) await output.drained(ended);
  }
  if (rest !== '') print(rest);
}

function renderLine(line: string, output: CommandContext['output']): string {
  if (output.json) {
    const object = line.startsWith('{') ? line : JSON.stringify({ msg: line });
    return output.isResultTerminal ? toPrintableLine(object) : object;
  }
  return output.isResultTerminal ? renderLogLine(line, output.resultPalette) : line;
}
