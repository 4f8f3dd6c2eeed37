import assert from 'node:assert/strict';
import { SseDecoder } from '@rbee/protocol';

interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface Told {
  readonly id: string;
  readonly event: Event;
}

const RECONNECT_MS = 50;
const WAIT_MS = 60_000;

/** A client that does not give up: when its stream breaks off, it asks for what it has missed. */
export class FollowedTask {
  readonly told: Told[] = [];
  /** How often it came back. */
  returns = 0;
  readonly done: Promise<void>;
  readonly #url: string;
  readonly #watchers = new Set<() => void>();
  #left = false;

  constructor(
    queenUrl: string,
    readonly id: string,
    task: Readonly<Record<string, unknown>>,
  ) {
    this.#url = `${queenUrl}/v2/tasks`;
    this.done = this.#follow(JSON.stringify({ ...task, job_id: id }));
    // Whoever waits for it sees why it failed.
    this.done.catch(() => undefined);
  }

  all(type: string): Event[] {
    return this.told.filter(({ event }) => event.type === type).map(({ event }) => event);
  }

  get ids(): number[] {
    return this.all('token').flatMap(({ ids }) => ids as number[]);
  }

  get text(): string {
    return this.all('token')
      .map(({ t }) => t)
      .join('');
  }

  /** Calls back at once when an event comes with which the condition holds. */
  when(condition: () => boolean, what: string, act: () => void = () => undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        end();
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`${this.id}: ${what}; ${this.#report()}`))),
        WAIT_MS,
      );
      const look = () => {
        if (!condition()) return;
        act();
        settle(resolve);
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** Gives up after all. */
  leave(): void {
    this.#left = true;
    this.#abort.abort();
  }

  /** Fails unless each event came once, in order, up to one terminal event of this type. */
  assertWhole(terminal: 'end' | 'error'): void {
    const report = this.#report();
    const places = this.told.map(({ id }) => id.split('-').map(Number) as [number, number]);
    for (const [index, [run, n]] of places.entries()) {
      const [lastRun, lastN] = places[index - 1] ?? [0, 0];
      assert(run > lastRun || (run === lastRun && n > lastN), `an event came twice or too late; ${report}`);
    }
    assert.equal(this.told.at(-1)?.event.type, terminal, report);
    assert.equal(this.all('end').length + this.all('error').length, 1, report);
    assert.equal(this.all('accepted').length, 1, report);
    assert(this.all('started').length <= 1, report);
    assert.deepEqual(
      this.all('token').map(({ i }) => i),
      this.all('token').map((_event, index) => index),
      report,
    );
  }

  #abort = new AbortController();

  async #follow(body: string): Promise<void> {
    const end = performance.now() + WAIT_MS;
    for (let first = true; !this.#left; first = false) {
      assert(performance.now() < end, `${this.id} came to no end; ${this.#report()}`);
      try {
        if (await this.#read(first ? await this.#post(body) : await this.#attach(body))) return;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        // The queen is not there, or has gone: that is what it is for.
      }
      if (!this.#left) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }

  #post(body: string): Promise<Response> {
    const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
    return fetch(this.#url, { method: 'POST', headers, body, signal: this.#abort.signal });
  }

  /** Asks for the events behind the last one; a task of which nothing was heard may not have arrived. */
  async #attach(body: string): Promise<Response> {
    const last = this.told.at(-1)?.id;
    if (last === undefined) return this.#post(body);
    const headers = { Accept: 'text/event-stream', 'Last-Event-ID': last };
    const response = await fetch(`${this.#url}/${this.id}/events`, { headers, signal: this.#abort.signal });
    this.returns++;
    return response;
  }

  /** Reads a stream; resolves with whether it came to its end. */
  async #read(response: Response): Promise<boolean> {
    assert.equal(response.status, 200, `${this.id}: ${response.ok ? '' : await response.text()}`);
    const decoder = new SseDecoder();
    for await (const chunk of response.body ?? []) {
      for (const { data, id } of decoder.push(chunk as Uint8Array)) {
        if (data === '[DONE]') return true;
        assert(id !== undefined, `an event without an id: ${data}`);
        this.told.push({ id, event: JSON.parse(data) as Event });
      }
      for (const look of [...this.#watchers]) look();
    }
    return false;
  }

  #report(): string {
    return `it was told: ${this.told.map(({ id, event }) => `${id} ${event.type}`).join(', ')}`;
  }
}
