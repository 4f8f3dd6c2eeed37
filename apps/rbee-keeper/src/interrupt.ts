import type { SignalSource } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * What the user's signals mean. The first one asks the command to give up in good order (`signal`), the second one ends
 * the program at once (`forced`). A part that has its own meaning for Ctrl+C takes it over for a while.
 */
export class Interrupt {
  readonly #abort = new AbortController();
  readonly #removals: (() => void)[] = [];
  #takeovers: (() => void)[] = [];
  readonly forced: Promise<void>;

  constructor(signals: SignalSource) {
    let force: () => void = () => undefined;
    this.forced = new Promise((resolve) => {
      force = resolve;
    });
    for (const name of SIGNALS) {
      const listener = () => {
        const takeover = name === 'SIGINT' ? this.#takeovers.at(-1) : undefined;
        if (takeover) takeover();
        else if (this.#abort.signal.aborted) force();
        else this.#abort.abort(new RbeeError('CANCELLED', 'canceled by the user', { details: { signal: name } }));
      };
      signals.on(name, listener);
      this.#removals.push(() => signals.off(name, listener));
    }
  }

  /** Aborted by the first signal, with a CANCELLED error as its reason. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Sends Ctrl+C to a listener instead, until the returned function is called. The newest takeover counts. */
  takeOver(listener: () => void): () => void {
    this.#takeovers.push(listener);
    return () => {
      this.#takeovers = this.#takeovers.filter((other) => other !== listener);
    };
  }

  /** Stops listening. */
  dispose(): void {
    for (const remove of this.#removals.splice(0)) remove();
  }
}
