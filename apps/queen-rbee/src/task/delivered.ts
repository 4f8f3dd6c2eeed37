import { type Resume, tokenEventSchema } from '@rbee/protocol';

/** What another worker must be like to go on: the same model or, where its digest is not known, a worker on the same machine. */
export interface ResumePlace {
  readonly digest?: string;
  readonly node?: string;
}

/**
 * What of a generation has gone out: enough for another worker to go on from there. Token events are kept as they came and read
 * only when a worker was lost, so that a token costs no parsing.
 */
export class Delivered {
  /** Token ids of the prompt, as the worker told them in `started`; `undefined` for a worker that does not. */
  promptIds: readonly number[] | undefined;
  /** SHA-256 of the model that made the tokens. */
  modelDigest: string | undefined;
  /** The worker that took the job last, and its node. */
  from: { readonly node: string; readonly workerId: string } | undefined;
  readonly #tokens: string[] = [];
  #chars = 0;

  /** Number of `token` events. */
  get count(): number {
    return this.#tokens.length;
  }

  /** Characters of all `token` events. */
  get chars(): number {
    return this.#chars;
  }

  /** Takes the data of a token event. */
  note(data: string): void {
    this.#tokens.push(data);
    this.#chars += data.length;
  }

  /** Where it can go on; as long as nothing has gone out, anywhere. */
  get place(): ResumePlace {
    if (this.count === 0) return {};
    if (this.modelDigest !== undefined) return { digest: this.modelDigest };
    return this.from === undefined ? {} : { node: this.from.node };
  }

  /** What another worker needs to go on; `undefined` when something of it is not known. */
  toResume(): Resume | undefined {
    if (!this.promptIds) return undefined;
    const ids: number[] = [];
    for (const data of this.#tokens) {
      const token = tokenEventSchema.safeParse(JSON.parse(data)).data;
      if (!token?.ids) return undefined;
      // One by one: there may be more than a call takes arguments.
      for (const id of token.ids) ids.push(id);
    }
    return { prompt_ids: [...this.promptIds], ids, next_i: this.#tokens.length };
  }
}
