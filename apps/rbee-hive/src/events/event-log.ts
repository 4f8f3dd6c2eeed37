/** One event with its number; numbers start at 1 and have no gaps. */
export interface NumberedEvent<E> {
  seq: number;
  event: E;
}

/**
 * An ordered, bounded memory of events that any number of readers follow at their own pace: each keeps the number it
 * wants next, so that a slow reader costs nothing and learns that it fell behind what is still kept.
 */
export class EventLog<E> {
  private entries: NumberedEvent<E>[] = [];
  private next = 1;
  private isClosed = false;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly capacity: number) {}

  /** Number that the next event will get. */
  get nextSeq(): number {
    return this.next;
  }

  /** Number of the oldest event that is kept. */
  get firstSeq(): number {
    return this.next - this.entries.length;
  }

  get closed(): boolean {
    return this.isClosed;
  }

  append(event: E): void {
    if (this.isClosed) return;
    this.entries.push({ seq: this.next++, event });
    // Trimmed in bulk, so that an append does not move the whole array.
    if (this.entries.length >= this.capacity * 2) this.entries = this.entries.slice(-this.capacity);
    this.wake();
  }

  /** Nothing is appended any more; readers see the rest and then the end. */
  close(): void {
    this.isClosed = true;
    this.wake();
  }

  /** The kept events from a number on, or null when some of them are no longer kept. */
  since(seq: number): NumberedEvent<E>[] | null {
    return seq < this.firstSeq ? null : this.entries.slice(seq - this.firstSeq);
  }

  /** Resolves at the next append or close; rejects with the signal's reason when that is aborted first. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const settle = () => {
        this.waiting.delete(settle);
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason);
        else resolve();
      };
      this.waiting.add(settle);
      signal.addEventListener('abort', settle, { once: true });
    });
  }

  private wake(): void {
    for (const settle of [...this.waiting]) settle();
  }
}
