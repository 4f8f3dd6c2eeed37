import type { QueenClient } from '../queen/queen-client.js';
import type { QueenControl } from '../queen/queen-control.js';
import { QueenSession } from '../queen/queen-session.js';
import { createQueenClient } from '../queen/with-queen.js';

/** A queen for as long as a conversation lasts; one that is lost on the way is replaced before the next turn. */
export class QueenConnection {
  readonly #control: QueenControl;
  #session: QueenSession | undefined;

  constructor(control: QueenControl) {
    this.#control = control;
  }

  /** The client of a queen that answers. */
  async client(): Promise<QueenClient> {
    if (this.#session?.lost.aborted) await this.close();
    this.#session ??= await QueenSession.open(this.#control);
    return createQueenClient(this.#control);
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }
}
