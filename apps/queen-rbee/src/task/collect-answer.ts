import { readEvent } from '@rbee/daemon-kit';
import { endEventSchema, type GenerationResult, RbeeError, tokenEventSchema } from '@rbee/protocol';
import type { JournalEvent } from '../journal/task-journal.js';
import { shuttingDown } from './shutting-down.js';
import type { LogReader, TaskLog } from './task-log.js';

/** Waits for the end of a task and gives its answer as one body. Throws what it failed with, or the signal's reason when the client has gone. */
export async function collectAnswer(id: string, log: TaskLog, signal: AbortSignal): Promise<GenerationResult> {
  await untilComplete(log, signal);
  if (log.failure) throw log.failure;
  const events = log.answer();
  const end = events.at(-1);
  if (end?.kind !== 'end') throw toUnreadable('end');
  const { type: _type, ...figures } = readAs(endEventSchema, end);
  return { job_id: id, text: textOf(events), ...figures };
}

/** The text of a task's tokens. Throws INVALID_RESPONSE when the worker sent something else. */
export function textOf(events: readonly JournalEvent[]): string {
  return events
    .filter(({ kind }) => kind === 'token')
    .map((event) => readAs(tokenEventSchema, event).t)
    .join('');
}

function untilComplete(log: TaskLog, signal: AbortSignal): Promise<void> {
  let reader: LogReader | undefined;
  return new Promise<void>((resolve, reject) => {
    const wake = () => {
      if (log.suspended) reject(shuttingDown());
      else if (log.complete) resolve();
    };
    // The text is collected here: nobody has to wait for this reader.
    reader = { cursor: 0, holdsBack: false, wake };
    log.attach(reader, undefined);
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    wake();
  }).finally(() => reader && log.detach(reader));
}

function readAs<S extends Parameters<typeof readEvent>[0]>(schema: S, { kind, data }: JournalEvent) {
  const event = readEvent(schema, { event: kind, data });
  if (event !== undefined) return event;
  throw toUnreadable(kind);
}

function toUnreadable(kind: string): RbeeError {
  return new RbeeError('INVALID_RESPONSE', `the worker sent a ${kind} event that cannot be read`, {
    details: { service: 'llm-worker-rbee', event: kind },
    suggestion: 'repeat the request; if it happens again, restart the worker',
  });
}
