import type { IncomingStream } from '@rbee/daemon-kit/client';
import { type ErrorEvent, fromErrorEvent, RbeeError, type SseMessage } from '@rbee/protocol';

type AnyEvent = { readonly type: string };
type EndOf<E extends AnyEvent> = Extract<E, { type: 'end' }>;
type Before<E extends AnyEvent> = Exclude<E, { type: 'end' | 'error' }>;

/**
 * Reads a stream of the queen to its `end`, which is returned; what comes before goes to `onEvent`. `read` skips an event
 * that it does not know by returning nothing. Throws the error that the stream reports, the signal's reason, or
 * QUEEN_UNREACHABLE when it breaks off; then the command `next` shows how far it came.
 */
export async function followToEnd<E extends AnyEvent>(
  stream: IncomingStream,
  read: (message: SseMessage) => E | undefined,
  signal: AbortSignal,
  onEvent: (event: Before<E>) => void,
  next = 'rbee-keeper setup list-nodes',
): Promise<EndOf<E>> {
  let failure: RbeeError | undefined;
  let end: EndOf<E> | undefined;
  try {
    for await (const message of stream.messages) {
      const event = read(message);
      if (!event) continue;
      if (event.type === 'error') failure = fromErrorEvent(event as unknown as ErrorEvent);
      else if (event.type === 'end') end = event as EndOf<E>;
      else onEvent(event as Before<E>);
    }
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    // What breaks behind the last event takes nothing from it.
    if (!failure && !end) throw toBrokenError(next, cause);
  }
  if (failure) throw failure;
  if (end) return end;
  throw toBrokenError(next);
}

function toBrokenError(next: string, cause?: unknown): RbeeError {
  return new RbeeError('QUEEN_UNREACHABLE', 'the connection to queen-rbee broke off before it was done', {
    suggestion: `see how far it came: ${next}`,
    cause,
  });
}
