import { orAborted } from '@rbee/daemon-kit';
import { RbeeError, type ScanResult } from '@rbee/protocol';

interface Scan {
  readonly abort: AbortController;
  readonly done: Promise<ScanResult>;
  /** How many wait for it. */
  waiting: number;
}

/**
 * Owner of the scans of a hive. One runs at a time; whoever asks meanwhile gets the one that follows, because the running one
 * may have passed by what they have just put there. A scan that nobody waits for any more is aborted.
 */
export class ModelScans {
  private running: Scan | undefined;
  private next: Scan | undefined;
  private closed = false;

  constructor(private readonly scanModels: (signal: AbortSignal) => Promise<ScanResult>) {}

  /** Throws what the scan throws, the signal's reason, or CANCELLED when the hive ends. */
  async scan(signal?: AbortSignal): Promise<ScanResult> {
    signal?.throwIfAborted();
    if (this.closed) throw hiveEnds();
    const scan = this.join();
    scan.waiting++;
    try {
      return await (signal === undefined ? scan.done : orAborted(scan.done, signal));
    } finally {
      if (--scan.waiting === 0) scan.abort.abort(new RbeeError('CANCELLED', 'nobody waits for the scan any more'));
    }
  }

  /** Aborts what runs, and resolves when it has ended. */
  async close(): Promise<void> {
    this.closed = true;
    const scans = [this.running, this.next].filter((scan) => scan !== undefined);
    for (const { abort } of scans) abort.abort(hiveEnds());
    await Promise.allSettled(scans.map(({ done }) => done));
  }

  private join(): Scan {
    if (this.running === undefined) {
      this.running = this.begin(Promise.resolve());
      return this.running;
    }
    // One that everybody has left before it began is not joined.
    if (this.next === undefined || this.next.abort.signal.aborted) this.next = this.begin(this.running.done);
    return this.next;
  }

  private begin(after: Promise<unknown>): Scan {
    const abort = new AbortController();
    const start = () => {
      abort.signal.throwIfAborted();
      return this.scanModels(abort.signal);
    };
    const scan: Scan = { abort, done: after.then(start, start), waiting: 0 };
    const settle = () => {
      if (this.running !== scan) return;
      this.running = this.next;
      this.next = undefined;
    };
    scan.done.then(settle, settle);
    return scan;
  }
}

function hiveEnds(): RbeeError {
  return new RbeeError('CANCELLED', 'the hive is shutting down: the scan was not finished');
}
