interface Waiting {
  readonly begin: () => void;
  readonly onPosition: (position: number) => void;
}

/** Lets a bounded number in at once, first come first served. Who changes the number calls `changed`. */
export class Turns {
  private running = 0;
  private queue: Waiting[] = [];

  /** How many may run is asked for whenever a turn begins or ends. */
  constructor(private readonly most: () => number) {}

  /**
   * Resolves, with what ends the turn, when one more may run; rejects with the signal's reason. Who has to wait hears of
   * its position, from 1, at once and whenever it changes.
   */
  async enter(signal: AbortSignal, onPosition: (position: number) => void): Promise<() => void> {
    signal.throwIfAborted();
    if (this.running < this.most()) this.running++;
    else await this.wait(signal, onPosition);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.running--;
      this.changed();
    };
  }

  /** Lets in whoever has room now. When there are to be fewer, those who run go on to their end. */
  changed(): void {
    const before = this.queue.length;
    while (this.running < this.most()) {
      const next = this.queue.shift();
      if (next === undefined) break;
      // Counted here, and not when the waiting one wakes up, so that nobody slips in between.
      this.running++;
      next.begin();
    }
    if (this.queue.length < before) this.tellPositions();
  }

  private wait(signal: AbortSignal, onPosition: (position: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.queue = this.queue.filter((other) => other !== waiting);
        this.tellPositions();
        reject(signal.reason);
      };
      const begin = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const waiting = { begin, onPosition };
      signal.addEventListener('abort', giveUp, { once: true });
      this.queue.push(waiting);
      onPosition(this.queue.length);
    });
  }

  private tellPositions(): void {
    for (const [index, { onPosition }] of this.queue.entries()) onPosition(index + 1);
  }
}
