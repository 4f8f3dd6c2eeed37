import { type Clock, formatDuration, type Logger, sleep, type Timeouts } from '@rbee/daemon-kit';
import { RbeeError, toRbeeError } from '@rbee/protocol';
import type { CompleteModel } from '../catalog/hub-models.js';
import { chooseVariant, type HubRef, type HubVariant } from '../hub/choose-variant.js';
import type { FetchEvent, Fetching, Hub, HubFile } from '../hub/hub.js';
import { readPartialSize } from '../transfer/partial-file.js';
import { attemptRules, decideNext, MAX_ATTEMPTS, reasonOf, waitOf } from './attempt-policy.js';
import type { Bandwidth, Share } from './bandwidth.js';
import { describeComplete } from './complete-model.js';
import type { Download } from './download.js';
import type { DownloadVoice } from './download-voice.js';
import { countPresentBytes, deleteStalePartials, isComplete, type PlacedFile, placeFile } from './model-place.js';
import { ProgressMeter } from './progress-meter.js';
import { StallWatch } from './stall-watch.js';

export interface HubDownloadOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly bandwidth: Bandwidth;
}

export interface HubDownloadJob {
  readonly download: Download;
  readonly voice: DownloadVoice;
  /** With its variant. */
  readonly ref: HubRef & { readonly variant: string };
  readonly chosen: HubVariant;
  /** Folder of the model. */
  readonly folder: string;
}

interface HubTarget extends PlacedFile {
  readonly source: HubFile;
}

/** Least speed, in bytes per second, at which bytes of an earlier attempt are read, and those of this one are written for good. */
const SLOW_DISK = 20 * 1024 * 1024;

/** Gets the files of one variant from the hub, one after the other, in as many attempts as are worth it. */
export class HubDownload {
  readonly meter: ProgressMeter;
  private files: readonly HubTarget[];
  /** Targets that are complete. */
  private readonly complete = new Set<string>();
  private share: Share | undefined;
  /** Failed attempts since the last that got somewhere. */
  private attempt = 1;
  /** Time in which the present attempt brought bytes that none before had brought. */
  private progressMs = 0;
  /** The most bytes of each file that were ever there. */
  private readonly furthest = new Map<string, number>();
  /** Whether the list of files is no longer right. */
  private changed = false;
  /** Whether the present attempt has told how far it is. */
  private attemptBegun = false;

  constructor(
    private readonly options: HubDownloadOptions,
    private readonly job: HubDownloadJob,
  ) {
    this.files = this.place(job.chosen);
    this.meter = new ProgressMeter({
      clock: options.clock,
      source: 'hub',
      totalBytes: () => this.totalBytes,
      limit: () => this.share?.bytesPerSecond,
      tell: (event) => job.download.tell(event),
    });
  }

  get totalBytes(): number {
    return this.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  /** Whether the hub knows the digests of all files. */
  get verified(): boolean {
    return this.files.every(({ digest }) => digest !== undefined);
  }

  /** Resolves when all files are complete and verified. Throws the error of the last attempt, or why the download was stopped. */
  async run(): Promise<CompleteModel> {
    const { download, voice, ref, folder } = this.job;
    await deleteStalePartials(folder, this.files);
    this.meter.bytes = await countPresentBytes(this.files);
    voice.started(this.totalBytes, this.meter.bytes);
    for (;;) {
      try {
        this.progressMs = 0;
        this.attemptBegun = false;
        await this.attemptAll();
        await deleteStalePartials(folder, this.files);
        return await describeComplete({ reference: ref.reference, variant: ref.variant }, this.files);
      } catch (error) {
        download.signal.throwIfAborted();
        await this.afterFailure(toRbeeError(error));
      }
    }
  }

  private async attemptAll(): Promise<void> {
    const { download } = this.job;
    if (this.changed) await this.listAgain();
    for (const file of this.files) {
      if (this.complete.has(file.target)) continue;
      const { sizeBytes } = file;
      // What an earlier download has completed is read once more: the hub may have another file of that name now.
      if (!(await isComplete(file, download.signal, () => download.tell({ stage: 'verifying' })))) {
        await this.fetch(file);
        this.attempt = 1;
      }
      this.complete.add(file.target);
      this.meter.bytes = Math.max(this.meter.bytes, this.bytesBefore(file) + sizeBytes);
    }
  }

  private async fetch(file: HubTarget): Promise<void> {
    const { hub, clock, timeouts, bandwidth } = this.options;
    const { download, ref } = this.job;
    const stopped = new AbortController();
    const present = await readPartialSize(file.target, file);
    const stall = new StallWatch(clock, {
      firstMs: timeouts.download_stall + (present / SLOW_DISK) * 1000,
      stallMs: timeouts.download_stall,
      onStall: (waitedMs) => stopped.abort(stalledError(ref.reference, file, waitedMs)),
    });
    let fetching: Fetching | undefined;
    const share = bandwidth.take((bytesPerSecond) => fetching?.limit(bytesPerSecond));
    this.share = share;
    this.progressMs = 0;
    try {
      const { bytesPerSecond } = share;
      const onEvent = this.listen(file, stall);
      const signal = AbortSignal.any([download.signal, stopped.signal]);
      const job = { repo: ref.reference, file: file.source, target: file.target, bytesPerSecond };
      fetching = hub.fetchFile(job, { signal, onEvent });
      await fetching.done;
    } finally {
      this.meter.pause();
      stall.stop();
      share.leave();
      this.share = undefined;
    }
  }

  /** Follows one attempt for one file. */
  private listen(file: HubTarget, stall: StallWatch): (event: FetchEvent) => void {
    const { clock, timeouts } = this.options;
    const before = this.bytesBefore(file);
    let begun = false;
    let heardAt = 0;
    let newSince: number | undefined;
    return (event) => {
      if (event.type === 'verifying') {
        // From here on the disk sets the pace.
        stall.allow(timeouts.download_stall + (file.sizeBytes / SLOW_DISK) * 1000);
        this.meter.pause();
        return this.job.download.tell({ stage: 'verifying' });
      }
      const { offset } = event;
      if (!begun || before + offset !== this.meter.bytes) stall.touch();
      // A further part of a split model goes on where the one before has ended.
      const goesOn = begun || (this.attemptBegun && before + offset === this.meter.bytes);
      if (goesOn) this.meter.advance(before + offset);
      else this.meter.begin(before + offset);
      this.attemptBegun = true;
      const now = clock.monotonic();
      if (offset > (this.furthest.get(file.target) ?? 0)) {
        this.furthest.set(file.target, offset);
        if (begun) newSince ??= heardAt;
        this.progressMs = now - (newSince ?? now);
      }
      begun = true;
      heardAt = now;
    };
  }

  /** Waits for the next attempt, or throws when there is none. */
  private async afterFailure(error: RbeeError): Promise<void> {
    const { clock, log, timeouts, variables } = this.options;
    const { download, voice } = this.job;
    const rules = attemptRules(timeouts, variables);
    const step = decideNext({ attempt: this.attempt, error, progressMs: this.progressMs }, rules);
    if (!step.retry) throw step.error;
    this.changed ||= error.details.changed === true;
    this.attempt = step.attempt;
    const reason = `${reasonOf(error)} at ${this.meter.percent} %`;
    log.info({ error, attempt: step.attempt, model_ref: download.modelRef }, 'an attempt to download has failed');
    download.tell({
      stage: 'retrying',
      attempt: step.attempt,
      max_attempts: MAX_ATTEMPTS,
      delay_ms: step.delayMs,
      reason,
    });
    voice.retrying(reason, step.attempt, step.delayMs);
    await sleep(clock, waitOf(step.delayMs, error, variables), download.signal);
  }

  /** The files that the hub has now under the same variant. */
  private async listAgain(): Promise<void> {
    const { ref, download, folder } = this.job;
    const listed = await this.options.hub.listFiles(ref.reference, download.signal);
    this.files = this.place(chooseVariant(ref, listed));
    this.complete.clear();
    this.changed = false;
    await deleteStalePartials(folder, this.files);
  }

  private place({ files }: HubVariant): HubTarget[] {
    return files.map((source) => ({ ...placeFile(this.job.folder, source.path, source), source }));
  }

  private bytesBefore(file: HubTarget): number {
    const others = this.files.filter((other) => other !== file && this.complete.has(other.target));
    return others.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }
}

function stalledError(repo: string, { name }: PlacedFile, waitedMs: number): RbeeError {
  const waited = formatDuration(waitedMs);
  return new RbeeError('DOWNLOAD_TIMEOUT', `no byte of ${name} came from hf:${repo} for ${waited}`, {
    details: { model: `hf:${repo}`, file: name, timeout_ms: waitedMs, reason: `no byte came for ${waited}` },
  });
}
