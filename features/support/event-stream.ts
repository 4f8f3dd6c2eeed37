import assert from 'node:assert/strict';
import { SseDecoder, type SseMessage } from '@rbee/protocol';

interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

const WAIT_MS = 30_000;

/** A stream of events that is read while a scenario goes on, with the time of each. */
export class OpenStream {
  readonly messages: SseMessage[] = [];
  readonly events: Event[] = [];
  readonly times: number[] = [];
  readonly response: Response;
  readonly closed: Promise<void>;
  #abort: AbortController;
  #watchers = new Set<() => void>();
  #ended = false;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.closed = this.#read();
  }

  static async open(url: string, init: RequestInit = {}): Promise<OpenStream> {
    const abort = new AbortController();
    return new OpenStream(await fetch(url, { ...init, signal: abort.signal }), abort);
  }

  /** Reads an answer that was asked for by other means than `fetch`. */
  static read(response: Response): OpenStream {
    return new OpenStream(response, new AbortController());
  }

  /** Waits for an event. */
  waitFor(find: (event: Event) => boolean, what: string): Promise<Event> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(check);
        act();
      };
      const fail = () =>
        settle(() => reject(new Error(`${what} never came; the stream had: ${JSON.stringify(this.events, null, 1)}`)));
      const timer = setTimeout(fail, WAIT_MS);
      const check = () => {
        const found = this.events.find(find);
        if (found) settle(() => resolve(found));
        else if (this.#ended) fail();
      };
      this.#watchers.add(check);
      check();
    });
  }

  close(): void {
    this.#abort.abort();
  }

  all(type: string): Event[] {
    return this.events.filter((event) => event.type === type);
  }

  /** Narrated actions in order. */
  get actions(): string[] {
    return this.all('narration').map((event) => String(event.action));
  }

  narration(action: string): Event[] {
    return this.all('narration').filter((event) => event.action === action);
  }

  get text(): string {
    return this.all('token')
      .map((event) => event.t)
      .join('');
  }

  /** Token ids that the text covers. */
  get ids(): number[] {
    return this.all('token').flatMap((event) => event.ids as number[]);
  }

  get terminal(): Event {
    const terminals = this.events.filter((event) => event.type === 'end' || event.type === 'error');
    assert.equal(terminals.length, 1, `there must be one terminal event: ${JSON.stringify(this.events, null, 1)}`);
    return terminals[0] as Event;
  }

  async #read(): Promise<void> {
    const decoder = new SseDecoder();
    try {
      for await (const chunk of this.response.body ?? []) {
        for (const message of decoder.push(chunk as Uint8Array)) {
          this.messages.push(message);
          this.times.push(performance.now());
          if (message.data === '[DONE]') continue;
          const event = JSON.parse(message.data) as Event;
          if (message.event) assert.equal(event.type, message.event, 'the name and the type of an event must agree');
          this.events.push(event);
        }
        for (const watcher of [...this.#watchers]) watcher();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    } finally {
      this.#ended = true;
      for (const watcher of [...this.#watchers]) watcher();
    }
  }
}
