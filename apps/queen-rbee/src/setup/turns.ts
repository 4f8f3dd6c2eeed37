import { orAborted } from '@rbee/daemon-kit';

/** Lets operations on one name run one after the other; those on different names do not wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs the operation when all earlier ones on the name have ended. The signal ends only the wait. */
  take<T>(name: string, operation: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const run = (async () => {
      await (signal ? orAborted(before, signal) : before);
      return operation();
    })();
    const over = Promise.allSettled([before, run]).then(() => {
      if (this.#last.get(name) === over) this.#last.delete(name);
    });
    this.#last.set(name, over);
    return run;
  }
}
