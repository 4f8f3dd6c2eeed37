import { randomUUID } from 'node:crypto';
import { OpenStream } from '../features/support/event-stream.js';
import { MODEL } from './model.js';
import { NODE, type Site } from './site.js';

/** A task that holds the one slot of a worker. */
export class Filler {
  readonly #stream: OpenStream;

  private constructor(stream: OpenStream) {
    this.#stream = stream;
  }

  static async start(site: Site): Promise<Filler> {
    const body = {
      job_id: `filler-${randomUUID()}`,
      node: NODE,
      model: MODEL,
      prompt: 'hold the slot',
      template: 'none',
      temperature: 0,
      max_tokens: 1900,
    };
    const init = { method: 'POST', body: JSON.stringify(body) };
    const stream = await OpenStream.open(`${site.queenUrl}/v2/tasks`, init);
    // The fault that follows may end it in any way.
    stream.closed.catch(() => undefined);
    await stream.waitFor(({ type }) => type === 'token', 'a token of the task that holds the slot');
    return new Filler(stream);
  }

  /** Goes away, which cancels the task; where the queen has gone, it will find nobody who waits for it. */
  async stop(): Promise<void> {
    this.#stream.close();
    await this.#stream.closed.catch(() => undefined);
  }
}
