/** Part of a limit that one taker has. */
export interface Share {
  /** Bytes per second; `undefined` without a limit. */
  readonly bytesPerSecond: number | undefined;
  leave(): void;
}

/** A limit of bytes per second that those who download at the same time share equally. Who changes it calls `changed`. */
export class Bandwidth {
  private readonly takers = new Set<(bytesPerSecond: number | undefined) => void>();

  /** The limit is asked for whenever a share is told; `undefined`: there is none. */
  constructor(private readonly bytesPerSecond: () => number | undefined) {}

  /** Takes a share; `onChange` hears of its new size when others come and go, and when the limit changes. */
  take(onChange: (bytesPerSecond: number | undefined) => void): Share {
    this.tellOthers(this.takers.size + 1);
    this.takers.add(onChange);
    const shareOf = () => this.shareOf(this.takers.size);
    return {
      get bytesPerSecond() {
        return shareOf();
      },
      leave: () => {
        if (this.takers.delete(onChange)) this.tellOthers(this.takers.size);
      },
    };
  }

  /** The limit is another one now, or there is none any more. */
  changed(): void {
    const share = this.shareOf(this.takers.size);
    for (const tell of this.takers) tell(share);
  }

  private tellOthers(count: number): void {
    const share = this.shareOf(count);
    if (share !== undefined) for (const tell of this.takers) tell(share);
  }

  private shareOf(count: number): number | undefined {
    const limit = this.bytesPerSecond();
    return limit === undefined ? undefined : Math.max(1, Math.floor(limit / count));
  }
}
