import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Clock } from '@rbee/daemon-kit';

const BLOCK_BYTES = 64 * 1024;

/** A longer line is cut: nobody reads it, and it must not fill the memory. */
const MAX_LINE_BYTES = 64 * 1024;

/** Only where the system cannot report changes of a file. */
const FALLBACK_POLL_MS = 250;

/**
 * Reads the lines that another process appends to a file. It reads when the system reports a change and when `catchUp`
 * is called; one read at a time, so that lines come in order.
 */
export class LineFollower {
  private watcher: FSWatcher | undefined;
  private stopPolling: (() => void) | undefined;
  private reading: Promise<void> = Promise.resolve();
  private pending = false;
  private partial = Buffer.alloc(0);
  private ended = false;

  private constructor(
    private readonly file: FileHandle,
    private position: number,
    private readonly onLine: (line: string) => void,
    private readonly pace: () => Promise<void>,
  ) {}

  /** Follows an existing file from a byte on. `pace` is awaited after each block, for takers that can fall behind. */
  static async start(
    path: string,
    from: number,
    clock: Clock,
    onLine: (line: string) => void,
    pace: () => Promise<void> = async () => undefined,
  ): Promise<LineFollower> {
    const follower = new LineFollower(await open(path, 'r'), from, onLine, pace);
    follower.observe(path, clock);
    await follower.catchUp();
    return follower;
  }

  /** Resolves when everything that was in the file at the call has been read. */
  catchUp(): Promise<void> {
    if (this.ended || this.pending) return this.reading;
    this.pending = true;
    this.reading = this.reading.then(() => {
      this.pending = false;
      return this.readOn();
    });
    return this.reading;
  }

  /** Reads the rest, an unfinished last line included, and lets go of the file. */
  async finish(): Promise<void> {
    if (this.ended) return this.reading;
    const rest = this.catchUp();
    this.ended = true;
    this.watcher?.close();
    this.stopPolling?.();
    this.reading = rest
      .then(() => {
        if (this.partial.length > 0) this.onLine(this.partial.toString('utf8'));
      })
      .finally(() => this.file.close());
    return this.reading;
  }

  private observe(path: string, clock: Clock): void {
    const poll = () => {
      this.stopPolling ??= clock.every(FALLBACK_POLL_MS, () => this.catchUpSoon());
    };
    try {
      this.watcher = watch(path, () => this.catchUpSoon());
      this.watcher.on('error', poll);
      this.watcher.unref();
    } catch {
      // The limit of watched files is reached, or the file system knows no notifications.
      poll();
    }
  }

  private catchUpSoon(): void {
    // A failed read is reported to whoever calls catchUp or finish.
    this.catchUp().catch(() => undefined);
  }

  private async readOn(): Promise<void> {
    const block = Buffer.alloc(BLOCK_BYTES);
    for (;;) {
      const { bytesRead } = await this.file.read(block, 0, BLOCK_BYTES, this.position);
      if (bytesRead === 0) return;
      this.position += bytesRead;
      this.split(block.subarray(0, bytesRead));
      await this.pace();
    }
  }

  private split(bytes: Buffer): void {
    let data = this.partial.length === 0 ? bytes : Buffer.concat([this.partial, bytes]);
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
      this.onLine(data.toString('utf8', 0, end));
      data = data.subarray(end + 1);
    }
    if (data.length > MAX_LINE_BYTES) {
      this.onLine(data.toString('utf8', 0, MAX_LINE_BYTES));
      data = data.subarray(data.length);
    }
    this.partial = Buffer.from(data);
  }
}
