import type { RbeeError } from '@rbee/protocol';

/**
 * Keeps starts and ends of one hive apart: at most one start runs at a time and all who ask share it; an end first breaks
 * off the start that is under way, and a later start waits for it.
 */
export class StartGate<T> {
  #closedWith: RbeeError | undefined;
  /** The newest start; one that was broken off is only over when its result has settled. */
  #starting: { readonly result: Promise<T>; readonly abort: AbortController } | undefined;
  /** The newest end. */
  #stopping: Promise<unknown> | undefined;

  /** `begin` has to undo what it did when its signal is aborted. Rejects with the reason of `close` after that. */
  start(begin: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closedWith) return Promise.reject(this.#closedWith);
    if (this.#starting && !this.#starting.abort.signal.aborted) return this.#starting.result;
    const abort = new AbortController();
    const before = this.#stopping;
    const run = async () => {
      await before?.catch(() => undefined);
      abort.signal.throwIfAborted();
      return begin(abort.signal);
    };
    const result = run().finally(() => {
      if (this.#starting?.result === result) this.#starting = undefined;
    });
    this.#starting = { result, abort };
    return result;
  }

  /** Breaks off a start with the reason, and runs `end` when that, and an earlier end, is over. */
  stop<R>(reason: RbeeError, end: () => Promise<R>): Promise<R> {
    const before = this.#stopping;
    // Broken off now: a start that is asked for from here on waits for this end, which must not wait for that in turn.
    const over = this.#breakOff(reason);
    const run = async () => {
      await before?.catch(() => undefined);
      await over;
      return end();
    };
    const stopping = run().finally(() => {
      if (this.#stopping === stopping) this.#stopping = undefined;
    });
    this.#stopping = stopping;
    return stopping;
  }

  /** Breaks off a start, and refuses further ones. Resolves when start and end are over. */
  async close(reason: RbeeError): Promise<void> {
    this.#closedWith ??= reason;
    await this.#breakOff(reason);
    await this.#stopping?.catch(() => undefined);
  }

  async #breakOff(reason: RbeeError): Promise<void> {
    const starting = this.#starting;
    starting?.abort.abort(reason);
    await starting?.result.catch(() => undefined);
  }
}
