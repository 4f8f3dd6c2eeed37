import type { ServerResponse } from 'node:http';
import { RbeeError } from '@rbee/protocol';

/** Resolves when the reader of an answer has caught up; rejects when it goes away first, with the signal's reason or CANCELLED. */
export function whenDrained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      response.off('drain', settle);
      response.off('close', settle);
      signal.removeEventListener('abort', settle);
      if (signal.aborted) reject(signal.reason);
      else if (response.closed) reject(new RbeeError('CANCELLED', 'the client closed the connection'));
      else resolve();
    };
    // A destroyed answer needs no draining, but going on to write to it would spin until it is closed.
    const mustWait = response.writableNeedDrain || response.destroyed;
    if (signal.aborted || response.closed || !mustWait) return settle();
    response.on('drain', settle);
    response.on('close', settle);
    signal.addEventListener('abort', settle, { once: true });
  });
}
