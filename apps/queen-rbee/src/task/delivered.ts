import { type Resume, tokenEventSchema } from '@rbee/protocol';

/**
 * What of a generation has gone out: enough for another worker to go on from there. Token events are kept as they came and read
 * only when a worker was lost, so that a token costs no parsing.
 */
export class Delivered {
  /** Token ids of the prompt, as the worker told them in `started`; `undefined` for a worker that does not. */
  promptIds: readonly number[] | undefined;
  /** SHA-256 of the model that made the tokens. */
  modelDigest: string | undefined;
  readonly #tokens: string[] = [];

  /** Number of `token` events. */
  get count(): number {
    return this.#tokens.length;
  }

  /** Takes the data of a token event. */
  note(data: string): void {
    this.#tokens.push(data);
  }

  /** What another worker needs to go on; `undefined` when something of it is not known. */
  toResume(): Resume | undefined {
    if (!this.promptIds) return undefined;
    const ids: number[] = [];
    for (const data of this.#tokens) {
      const token = tokenEventSchema.safeParse(JSON.parse(data)).data;
      if (!token?.ids) return undefined;
      ids.push(...token.ids);
    }
    return { prompt_ids: [...this.promptIds], ids, next_i: this.#tokens.length };
  }
}
