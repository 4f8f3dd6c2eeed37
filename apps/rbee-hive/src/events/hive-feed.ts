import type { HiveEvent } from '@rbee/protocol';
import { EventLog } from './event-log.js';

type Snapshot = HiveEvent & { type: 'snapshot' };

/** The end of a stream that takes events with ids, as the server offers it. */
export interface EventSink<E> {
  /** False when the reader is behind. */
  send(event: E, id?: string): boolean;
  drained(signal: AbortSignal): Promise<void>;
}

const KEPT_EVENTS = 1000;

/**
 * What a hive tells whoever listens: a snapshot, then every change. A listener that comes back with the id of the last
 * event it saw gets what followed; one that missed more than is kept, or whose id is of another run of the hive, gets a
 * new snapshot. A change that a snapshot contains already may follow it once more: events carry whole states.
 */
export class HiveFeed {
  private readonly log = new EventLog<HiveEvent>(KEPT_EVENTS);
  private endReason = '';
  private open = 0;

  /** `runId` tells the ids of this run of the hive from those of an earlier one. */
  constructor(
    private readonly runId: string,
    private readonly takeSnapshot: () => Promise<Snapshot>,
  ) {}

  /** Streams that are open now. */
  get listeners(): number {
    return this.open;
  }

  publish(event: HiveEvent): void {
    this.log.append(event);
  }

  /** Ends every stream with the `end` event. */
  close(reason: string): void {
    this.endReason = reason;
    this.log.close();
  }

  /** Writes to a listener until the hive ends; rejects with the signal's reason when the listener goes first. */
  async stream(sink: EventSink<HiveEvent>, lastEventId: string | undefined, signal: AbortSignal): Promise<void> {
    this.open++;
    try {
      await this.follow(sink, this.nextOf(lastEventId), signal);
    } finally {
      this.open--;
    }
  }

  private async follow(sink: EventSink<HiveEvent>, start: number, signal: AbortSignal): Promise<void> {
    let next = start;
    for (;;) {
      const events = this.log.since(next);
      if (events === null) {
        next = this.log.nextSeq;
        await put(sink, await this.takeSnapshot(), this.idOf(next - 1), signal);
        continue;
      }
      for (const { seq, event } of events) await put(sink, event, this.idOf(seq), signal);
      next += events.length;
      if (events.length > 0) continue;
      if (this.log.closed) break;
      await this.log.changed(signal);
    }
    await put(sink, { type: 'end', reason: this.endReason }, undefined, signal);
  }

  private idOf(seq: number): string {
    return `${this.runId}-${seq}`;
  }

  /** 0 is before every event: it leads to a snapshot. */
  private nextOf(lastEventId: string | undefined): number {
    const seen = new RegExp(`^${this.runId}-(\\d{1,15})$`).exec(lastEventId ?? '')?.[1];
    if (seen === undefined || Number(seen) >= this.log.nextSeq) return 0;
    return Number(seen) + 1;
  }
}

async function put<E>(sink: EventSink<E>, event: E, id: string | undefined, signal: AbortSignal): Promise<void> {
  if (!sink.send(event, id)) await sink.drained(signal);
}
