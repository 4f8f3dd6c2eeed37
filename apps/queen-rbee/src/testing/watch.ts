/** Lets a test wait for a condition: it is looked at again whenever something has changed. */
export class Watch {
  #waiting = new Set<() => void>();

  /** Something may have changed. */
  touch(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves once the condition holds. A test that never gets there ends by jest's own limit. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
    });
  }
}
