import type { Clock } from '@rbee/daemon-kit';
import type { DownloadProgress, ModelSource } from '@rbee/protocol';

/** Events of a download that goes well come at most four times a second. */
const TELL_MS = 250;
const SPEED_WINDOW_MS = 5_000;
/** From this part of its limit on, a download counts as held up by it. */
const THROTTLED_PART = 0.75;

export interface ProgressMeterOptions {
  readonly clock: Clock;
  readonly source: ModelSource;
  /** Of all files. */
  readonly totalBytes: () => number;
  /** Bytes per second; `undefined` without a limit. */
  readonly limit: () => number | undefined;
  readonly tell: (event: DownloadProgress) => void;
}

/** Tells how far a download is, how fast it goes, and how long it will take. */
export class ProgressMeter {
  /** Bytes that are there, of all files. */
  bytes = 0;
  /** Bytes that have come since it was made. */
  received = 0;
  private resumedFrom = 0;
  private samples: { at: number; bytes: number }[] = [];
  private toldAt = Number.NEGATIVE_INFINITY;
  private cancelTelling: (() => void) | undefined;

  constructor(private readonly options: ProgressMeterOptions) {}

  /** Whole per cent of all bytes. */
  get percent(): number {
    return Math.floor((this.bytes / Math.max(1, this.options.totalBytes())) * 100);
  }

  /** An attempt begins with these bytes, of all files, on disk. */
  begin(bytes: number): void {
    this.bytes = bytes;
    this.resumedFrom = bytes;
    this.samples = [];
    this.takeSample();
    this.tell();
  }

  /** So many bytes, of all files, are on disk now. */
  advance(bytes: number): void {
    // A server that can't go on in the middle makes an attempt begin anew.
    if (bytes < this.bytes) {
      this.begin(bytes);
      return;
    }
    this.received += bytes - this.bytes;
    this.bytes = bytes;
    const waitMs = this.toldAt + TELL_MS - this.options.clock.monotonic();
    if (waitMs <= 0) this.tell();
    else this.cancelTelling ??= this.options.clock.after(waitMs, () => this.tell());
  }

  /** Nothing is told any more until an attempt begins; what was not told yet is told now. */
  pause(): void {
    if (this.cancelTelling) this.tell();
  }

  private tell(): void {
    this.cancelTelling?.();
    this.cancelTelling = undefined;
    this.toldAt = this.options.clock.monotonic();
    this.takeSample();
    const total = this.options.totalBytes();
    const speed = this.bytesPerSecond();
    const limit = this.options.limit();
    this.options.tell({
      stage: 'downloading',
      bytes_downloaded: this.bytes,
      bytes_total: total,
      speed_mbps: Number(((speed * 8) / 1e6).toFixed(3)),
      ...(speed > 0 ? { eta_seconds: Math.ceil((total - this.bytes) / speed) } : {}),
      ...(this.resumedFrom > 0 ? { resumed_from: this.resumedFrom } : {}),
      ...(limit !== undefined && speed >= limit * THROTTLED_PART ? { throttled: true } : {}),
      source: this.options.source,
    });
  }

  private takeSample(): void {
    const at = this.options.clock.monotonic();
    this.samples.push({ at, bytes: this.bytes });
    const second = () => this.samples[1];
    for (let next = second(); next && at - next.at >= SPEED_WINDOW_MS; next = second()) this.samples.shift();
  }

  private bytesPerSecond(): number {
    const [first] = this.samples;
    const last = this.samples.at(-1);
    if (!first || !last || last.at <= first.at) return 0;
    return ((last.bytes - first.bytes) / (last.at - first.at)) * 1000;
  }
}
