import type { LoadProgress } from '@rbee/protocol';

/** How far the model is loaded. A follower that is slow misses steps in between, never the last one. */
export class LoadFeed {
  #current: LoadProgress | undefined;
  #wakeFollowers = new Set<() => void>();

  set(progress: LoadProgress): void {
    this.#current = progress;
    for (const wake of this.#wakeFollowers) wake();
  }

  /** The present step and all newer ones, up to `ready` or `error`. Throws the signal's reason when that is aborted. */
  async *follow(signal: AbortSignal): AsyncGenerator<LoadProgress, void, void> {
    let wake: () => void = () => undefined;
    let news = Promise.resolve();
    const listen = (): void => {
      news = new Promise((resolve) => {
        wake = resolve;
      });
    };
    const notify = (): void => wake();
    this.#wakeFollowers.add(notify);
    signal.addEventListener('abort', notify, { once: true });
    try {
      for (;;) {
        signal.throwIfAborted();
        listen();
        const progress = this.#current;
        if (progress) yield progress;
        if (progress && progress.stage !== 'loading_to_vram') return;
        if (progress === this.#current) await news;
      }
    } finally {
      this.#wakeFollowers.delete(notify);
      signal.removeEventListener('abort', notify);
    }
  }
}
