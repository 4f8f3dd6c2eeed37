import { type Clock, formatDuration } from '@rbee/daemon-kit';
import type { DownloadProgress, Model } from '@rbee/protocol';
import type { Listener } from '../worker/crowd.js';

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
  readonly #startedAt: number;
  #bytesBefore: number | undefined;
  #bytesTotal = 0;
  #toldPosition: number | undefined;
  /** Node that gives it, by what its hive says; `undefined`: the hub does. */
  #from: string | undefined;

  constructor(options: DownloadTellerOptions) {
    this.#options = options;
    this.#from = options.from;
    this.#startedAt = options.clock.monotonic();
  }

  take(event: DownloadProgress): void {
    const { modelRef, node, listener } = this.#options;
    switch (event.stage) {
      case 'waiting':
        if (event.position === this.#toldPosition) return;
        this.#toldPosition = event.position;
        this.#say(`${node} fetches as many models as it may: ${modelRef} is number ${event.position} in line`);
        return;
      case 'downloading': {
        const { source, ...figures } = event;
        this.#from = source === 'node' ? this.#options.from : undefined;
        if (this.#bytesBefore === undefined) this.#tellBegin(event.resumed_from ?? 0, event.bytes_total);
        this.#bytesTotal = event.bytes_total;
        listener.pass({ type: 'progress', phase: 'download', ...figures });
        return;
      }
      case 'retrying': {
        const { attempt, max_attempts, delay_ms, reason } = event;
        const next = `attempt ${attempt} of ${max_attempts} in ${formatDuration(delay_ms)}`;
        this.#say(`${reason}: ${next}`, 'warn', 'retry');
        return;
      }
      case 'verifying':
        listener.pass({ type: 'progress', phase: 'download', stage: 'verifying' });
        return;
      // Told once the model is in the catalog.
      case 'complete':
      case 'error':
    }
  }

  /** The model has come. */
  end({ files }: Pick<Model, 'files'>): void {
    const { clock, modelRef, node, listener } = this.#options;
    const duration_ms = Math.round(clock.monotonic() - this.#startedAt);
    const fetched = this.#bytesTotal - (this.#bytesBefore ?? 0);
    const speed = fetched > 0 && duration_ms > 0 ? ` (${megabytes((fetched * 1000) / duration_ms)}/s)` : '';
    const what = this.#from === undefined ? 'downloaded' : 'copied';
    // Not every hub says what the digest has to be.
    const check = files?.every(({ digest }) => digest != null) ? ', SHA-256 verified' : '';
    listener.narrate({
      actor: 'queen-rbee',
      action: 'model_download',
      target: modelRef,
      human: `${what} ${modelRef} to ${node} in ${formatDuration(duration_ms)}${speed}${check}`,
      duration_ms,
    });
  }

  #tellBegin(resumedFrom: number, total: number): void {
    const { modelRef, node } = this.#options;
    const from = this.#from;
    this.#bytesBefore = resumedFrom;
    const what = from === undefined ? 'downloading' : 'copying';
    const way = from === undefined ? `to ${node}` : `from ${from} to ${node}`;
    if (resumedFrom === 0) this.#say(`${what} ${modelRef} ${way}: ${megabytes(total)}`);
    else this.#say(`resuming ${modelRef} ${way} at ${percent(resumedFrom, total)} of ${megabytes(total)}`);
  }

  #say(human: string, level: 'info' | 'warn' = 'info', action = 'model_download'): void {
    const { listener, modelRef } = this.#options;
    listener.narrate({ actor: 'queen-rbee', action, target: modelRef, human, level });
  }
}

function percent(part: number, whole: number): string {
  return `${Math.floor((part / whole) * 100)} %`;
}

/** In MB of 10^6 bytes, as network figures are. */
function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
