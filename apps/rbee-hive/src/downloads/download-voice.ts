import { formatDuration, type Narrate } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import { BYTES_PER_MB } from '../probe/snapshot.js';
import { MAX_ATTEMPTS } from './attempt-policy.js';

export interface DownloadVoiceOptions {
  readonly narrate: Narrate;
  readonly modelRef: string;
  readonly correlationId: string | undefined;
  /** Where it comes from, in words. */
  readonly from: string;
}

/** What the user hears about a download. */
export class DownloadVoice {
  constructor(private readonly options: DownloadVoiceOptions) {}

  waiting(position: number): void {
    const before = position === 1 ? 'it is the next one' : `${position - 1} more before it`;
    this.say('download_waiting', `${this.options.modelRef} waits for other downloads: ${before}`);
  }

  started(totalBytes: number, presentBytes: number): void {
    const { modelRef, from } = this.options;
    const percent = Math.floor((presentBytes / Math.max(1, totalBytes)) * 100);
    if (presentBytes === 0) this.say('download_start', `downloading ${modelRef} from ${from}: ${toMb(totalBytes)}`);
    else this.say('download_start', `resuming ${modelRef} from ${from} at ${percent} % of ${toMb(totalBytes)}`);
  }

  retrying(reason: string, attempt: number, delayMs: number): void {
    const human = `${reason}: attempt ${attempt} of ${MAX_ATTEMPTS} in ${formatDuration(delayMs)}`;
    this.say('download_retry', human, { level: 'warn' });
  }

  completed(receivedBytes: number, durationMs: number, verified: boolean): void {
    const speed = toMb((receivedBytes / Math.max(1, durationMs)) * 1000);
    const check = verified ? 'SHA-256 verified' : 'size verified';
    const human = `downloaded ${this.options.modelRef} in ${formatDuration(durationMs)} (${speed}/s), ${check}`;
    this.say('download_complete', human, { duration_ms: Math.round(durationMs) });
  }

  failed(error: RbeeError, percent: number, durationMs: number): void {
    const { modelRef } = this.options;
    const more = { duration_ms: Math.round(durationMs), error_kind: error.code.toLowerCase() };
    if (error.code === 'CANCELLED') {
      this.say('download_cancelled', `stopped downloading ${modelRef} at ${percent} %; what has come is kept`, more);
    } else this.say('download_failed', `${error.code}: ${error.message}`, { ...more, level: 'error' });
  }

  private say(action: string, human: string, more: Partial<Parameters<Narrate>[0]> = {}): void {
    const { narrate, modelRef, correlationId } = this.options;
    narrate({
      ...{ actor: 'model-provisioner', action, target: modelRef, human, model_ref: modelRef },
      ...(correlationId === undefined ? {} : { correlation_id: correlationId }),
      ...more,
    });
  }
}

function toMb(bytes: number): string {
  return `${Math.max(0.1, bytes / BYTES_PER_MB).toFixed(1)} MB`;
}
