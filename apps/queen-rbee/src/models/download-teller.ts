import { type Clock, formatDuration } from '@rbee/daemon-kit';
import type { DownloadProgress, Model } from '@rbee/protocol';
import type { Listener } from '../worker/crowd.js';

/** Longest sentence of a narration, in characters; what is longer would lose its end. */
const LONGEST = 100;
const BYTES_PER_MB = 2 ** 20;
/** In whose name it is told: that of the part of a hive that gets models. */
const ACTOR = 'model-provisioner';

export interface DownloadTellerOptions {
  readonly clock: Clock;
  readonly listener: Listener;
  readonly modelRef: string;
  /** Node that the model comes to. */
  readonly node: string;
  /** Node that gives it, where a node does. */
  readonly from?: string;
}

/** Tells users what a hive says of a download: figures as progress, the rest in words. */
export class DownloadTeller {
  readonly #options: DownloadTellerOptions;
  /** When its bytes began to come, or it was asked for. */
  #startedAt: number;
  #bytesBefore: number | undefined;
  #bytesTotal = 0;
  /** Node that gives it, by what its hive says; `undefined`: the hub does. */
  #from: string | undefined;

  constructor(options: DownloadTellerOptions) {
    this.#options = options;
    this.#from = options.from;
    this.#startedAt = options.clock.monotonic();
  }

  take(event: DownloadProgress): void {
    const { listener } = this.#options;
    switch (event.stage) {
      case 'downloading':
        this.#from = event.source === 'node' ? this.#options.from : undefined;
        if (this.#bytesBefore === undefined) this.#tellBegin(event.resumed_from ?? 0, event.bytes_total);
        this.#bytesTotal = event.bytes_total;
        listener.pass({ type: 'progress', phase: 'download', ...event });
        return;
      case 'retrying': {
        const { attempt, max_attempts, delay_ms, reason } = event;
        const next = `: attempt ${attempt} of ${max_attempts} in ${formatDuration(delay_ms)}`;
        this.#say(`${shorten(reason, LONGEST - next.length)}${next}`, 'warn', 'download_retry');
        return;
      }
      case 'waiting':
      case 'verifying':
        listener.pass({ type: 'progress', phase: 'download', ...event });
        return;
      // Told once the model is in the catalog.
      case 'complete':
      case 'error':
    }
  }

  /** The model has come. */
  end({ files }: Pick<Model, 'files'>): void {
    const { clock, modelRef, listener } = this.#options;
    const duration_ms = Math.round(clock.monotonic() - this.#startedAt);
    const fetched = this.#bytesTotal - (this.#bytesBefore ?? 0);
    const speed = fetched > 0 && duration_ms > 0 ? ` (${megabytes((fetched * 1000) / duration_ms)}/s)` : '';
    const what = `${this.#from === undefined ? 'downloaded' : 'copied'} ${modelRef} ${this.#way}`;
    // Not every hub says what the digest has to be.
    const check = files?.every(({ digest }) => digest != null) ? ', SHA-256 verified' : '';
    listener.narrate({
      actor: ACTOR,
      action: 'download_done',
      target: modelRef,
      human: fitting([`${what} in ${formatDuration(duration_ms)}`, speed, check]),
      duration_ms,
    });
  }

  #tellBegin(resumedFrom: number, total: number): void {
    const { modelRef } = this.#options;
    this.#bytesBefore = resumedFrom;
    this.#startedAt = this.#options.clock.monotonic();
    const what = this.#from === undefined ? 'downloading' : 'copying';
    if (resumedFrom === 0) this.#say(`${what} ${modelRef} ${this.#way}: ${megabytes(total)}`);
    else this.#say(`resuming ${modelRef} ${this.#way} at ${percent(resumedFrom, total)} of ${megabytes(total)}`);
  }

  get #way(): string {
    const { node } = this.#options;
    return this.#from === undefined ? `to ${node}` : `from ${this.#from} to ${node}`;
  }

  #say(human: string, level: 'info' | 'warn' = 'info', action = 'download_start'): void {
    const { listener, modelRef } = this.#options;
    listener.narrate({ actor: ACTOR, action, target: modelRef, human, level });
  }
}

function percent(part: number, whole: number): string {
  return `${Math.floor((part / whole) * 100)} %`;
}

function megabytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MB).toFixed(1)} MB`;
}

/** As many parts of a sentence as there is room for; what matters least stands last. */
function fitting(parts: readonly string[]): string {
  return parts.reduce((text, part) => (text.length + part.length <= LONGEST ? text + part : text));
}

function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
