import { createParser } from 'eventsource-parser';

/** One server-sent event as it stands on the wire: the data is not interpreted. */
export interface SseMessage {
  readonly event?: string | undefined;
  readonly data: string;
  readonly id?: string | undefined;
}

/** Data of the message that ends every stream, also after an error. */
export const DONE = '[DONE]';

/** Comment that keeps an idle stream alive. */
export const KEEP_ALIVE = ': keep-alive\n\n';

/** The frame that ends a stream. */
export const DONE_FRAME = `data: ${DONE}\n\n`;

/** A reader refuses an event larger than this many characters, so that a lying peer cannot fill its memory. */
export const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/** One message as a frame. Data may hold line breaks; name and id must not. */
export function encodeSse(message: SseMessage): string {
  const head = (message.id === undefined ? '' : `id: ${message.id}\n`) + (message.event ? `event: ${message.event}\n` : '');
  const { data } = message;
  const multiLine = data.includes('\n') || data.includes('\r');
  return `${head}data: ${multiLine ? data.split(/\r\n|\n|\r/).join('\ndata: ') : data}\n\n`;
}

/** An event object as a frame, named by its `type`. */
export function encodeEvent(event: { readonly type: string }, id?: string): string {
  return encodeSse({ event: event.type, data: JSON.stringify(event), id });
}

/**
 * Incremental reader of a byte stream. Chunks may end anywhere, also within a line or a code point; LF, CRLF and CR end
 * lines; comments and unknown fields are skipped. Throws RangeError when one event exceeds `MAX_EVENT_CHARS`.
 */
export class SseDecoder {
  #decoder = new TextDecoder();
  #messages: SseMessage[] = [];
  #pendingChars = 0;
  #parser = createParser({
    onEvent: ({ event, data, id }) => {
      this.#messages.push({ event, data, id });
      this.#pendingChars = 0;
    },
    onComment: () => {
      this.#pendingChars = 0;
    },
  });

  /** Takes the next bytes and returns the messages that they complete. */
  push(chunk: Uint8Array): SseMessage[] {
    const text = this.#decoder.decode(chunk, { stream: true });
    this.#pendingChars += text.length;
    if (this.#pendingChars > MAX_EVENT_CHARS) throw new RangeError(`an event exceeds ${MAX_EVENT_CHARS} characters`);
    this.#parser.feed(text);
    const complete = this.#messages;
    if (complete.length > 0) this.#messages = [];
    return complete;
  }
}

/**
 * Messages of a stream up to its `[DONE]`. A stream that ends or fails before that is broken: `toBrokenError` makes the
 * error that is thrown, from the transport's own error if there is one.
 */
export async function* decodeSse(
  source: AsyncIterable<Uint8Array>,
  toBrokenError: (cause?: unknown) => Error,
): AsyncGenerator<SseMessage, void, void> {
  const decoder = new SseDecoder();
  try {
    for await (const chunk of source) {
      for (const message of decoder.push(chunk)) {
        if (message.data === DONE) return;
        yield message;
      }
    }
  } catch (cause) {
    throw toBrokenError(cause);
  }
  throw toBrokenError();
}
