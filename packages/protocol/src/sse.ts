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
  const head =
    (message.id === undefined ? '' : `id: ${message.id}\n`) + (message.event ? `event: ${message.event}\n` : '');
  const { data } = message;
  const multiLine = data.includes('\n') || data.includes('\r');
  return `${head}data: ${multiLine ? data.split(/\r\n|\n|\r/).join('\ndata: ') : data}\n\n`;
}

/** An event object as a frame, named by its `type`. */
export function encodeEvent(event: { readonly type: string }, id?: string): string {
  return encodeSse({ event: event.type, data: JSON.stringify(event), id });
}

const LF = 10;

/**
 * Incremental reader of a byte stream. Chunks may end anywhere, also within a line or a code point; LF, CRLF and CR end
 * lines; comments and unknown fields are skipped. Throws RangeError when one event exceeds `MAX_EVENT_CHARS`.
 */
export class SseDecoder {
  #decoder = new TextDecoder();
  #messages: SseMessage[] = [];
  #endedWithCr = false;
  #parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ event, data, id }) => {
      if (data.length > MAX_EVENT_CHARS) refuseSize();
      this.#messages.push({ event, data, id });
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') refuseSize();
    },
  });

  /** Takes the next bytes and returns the messages that they complete. */
  push(chunk: Uint8Array): SseMessage[] {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === '') return [];
    if (this.#endedWithCr && text.charCodeAt(0) === LF) text = text.slice(1);
    // A CR at the end of a chunk ends a line now: waiting for the LF that may follow would hold back the last event of a
    // stream with CR line ends for ever.
    this.#endedWithCr = text.endsWith('\r');
    this.#parser.feed(this.#endedWithCr ? `${text}\n` : text);
    const complete = this.#messages;
    if (complete.length > 0) this.#messages = [];
    return complete;
  }
}

function refuseSize(): never {
  throw new RangeError(`an event exceeds ${MAX_EVENT_CHARS} characters`);
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
