interface Waiting {
  readonly begin: () => void;
  readonly onPosition: (position: number) => void;
}

/** Lets a bounded number in at once, first come first served. */
export class Turns {
  private running = 0;
  private queue: Waiting[] = [];

  constructor(private readonly most: number) {}

  /**
   * Resolves, with what ends the turn, when one more may run; rejects with the signal's reason. Who has to wait hears of
   * its position, from 1, at once and whenever it changes.
   */
  async enter(signal: AbortSignal, onPosition: (position: number) => void): Promise<() => void> {
    signal.throwIfAborted();
    if (this.running < this.most) this.running++;
    else await this.wait(signal, onPosition);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const next = this.queue.shift();
      // The turn goes from hand to hand, so that nobody slips in between.
      if (next === undefined) this.running--;
      else next.begin();
      this.tellPositions();
    };
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
