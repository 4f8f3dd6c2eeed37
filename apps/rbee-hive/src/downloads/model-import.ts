import { type Clock, formatDuration, type Timeouts } from '@rbee/daemon-kit';
import { type ImportState, isRbeeError, RbeeError } from '@rbee/protocol';
import type { CompleteModel } from '../catalog/hub-models.js';
import { PartialFile, readPartialSize } from '../transfer/partial-file.js';
import { defer } from '../workers/deferred.js';
import { describeComplete } from './complete-model.js';
import type { Download } from './download.js';
import type { DownloadVoice } from './download-voice.js';
import { countPresentBytes, deleteStalePartials, isComplete, type PlacedFile } from './model-place.js';
import { ProgressMeter } from './progress-meter.js';
import { StallWatch } from './stall-watch.js';
import { untilAborted } from './until-aborted.js';

export interface ModelImportOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly download: Download;
  readonly voice: DownloadVoice;
  readonly reference: string;
  readonly variant: string;
  /** Folder of the model. */
  readonly folder: string;
  /** In the order of their parts. */
  readonly files: readonly PlacedFile[];
}

interface OpenFile {
  readonly index: number;
  readonly partial: PartialFile;
}

/** Writing of one piece. */
interface Piece {
  readonly stop: AbortController;
  readonly settled: Promise<unknown>;
}

/**
 * Takes in a model that somebody sends in pieces: one file after the other, each from where it ends. A piece that comes
 * while another is being written takes its place, because the connection of that one has broken.
 */
export class ModelImport {
  readonly meter: ProgressMeter;
  readonly totalBytes: number;
  readonly verified = true;
  private readonly outcome = defer<void>();
  private readonly complete = new Set<number>();
  private open: OpenFile | undefined;
  private piece: Piece | undefined;
  private stall: StallWatch | undefined;
  private readonly prepared: Promise<void>;
  private over = false;

  constructor(private readonly options: ModelImportOptions) {
    const { clock, download, files } = options;
    this.totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.meter = new ProgressMeter({
      ...{ clock, source: 'node' as const, totalBytes: () => this.totalBytes, limit: () => undefined },
      tell: (event) => download.tell(event),
    });
    this.prepared = this.prepare();
    this.prepared.catch(() => undefined);
  }

  /** Resolves when everything has come and is verified. Throws what stood in the way, or why the import was stopped. */
  async run(): Promise<CompleteModel> {
    const { download, folder, files, clock, timeouts } = this.options;
    const fail = () => this.outcome.reject(download.signal.reason as Error);
    download.signal.addEventListener('abort', fail, { once: true });
    try {
      await this.prepared;
      const stallMs = timeouts.download_stall;
      const onStall = () => this.outcome.reject(stalledError(download.modelRef, stallMs));
      this.stall = new StallWatch(clock, { firstMs: stallMs, stallMs, onStall });
      this.endIfComplete();
      await this.outcome.promise;
      await deleteStalePartials(folder, files);
      return await describeComplete(this.options, files);
    } finally {
      download.signal.removeEventListener('abort', fail);
      this.stall?.stop();
      // Nobody would close a file that is opened after this.
      this.over = true;
      this.piece?.stop.abort(new RbeeError('CANCELLED', `the import of ${download.modelRef} has ended`));
      await this.piece?.settled;
      await this.release();
    }
  }

  /** How far each file has come. Who asks is about to send: a piece that is still being written is broken off. */
  async state(): Promise<ImportState['files']> {
    await this.prepared;
    this.piece?.stop.abort(supersededError());
    await this.piece?.settled;
    const files: ImportState['files'] = [];
    for (const [index, { name }] of this.options.files.entries())
      files.push({ name, offset: await this.offsetOf(index) });
    return files;
  }

  /**
   * Appends bytes to a file; resolves with where it ends then. Throws INVALID_REQUEST with `details.offset` when they don't
   * belong at its end, what ended the import, or the signal's reason; what came before stays.
   */
  write(
    index: number,
    offset: number,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ offset: number }> {
    const stop = new AbortController();
    const before = this.piece;
    before?.stop.abort(supersededError());
    const { download } = this.options;
    const all = AbortSignal.any([signal, stop.signal, download.signal]);
    const writing = Promise.all([this.prepared, before?.settled]).then(() => this.append(index, offset, bytes, all));
    const settled = writing.then(
      () => undefined,
      () => undefined,
    );
    this.piece = { stop, settled };
    return writing;
  }

  /** Files that are there already count; they may be those of another version. */
  private async prepare(): Promise<void> {
    const { files, folder, download, voice } = this.options;
    await deleteStalePartials(folder, files);
    this.meter.bytes = await countPresentBytes(files);
    for (const [index, file] of files.entries()) {
      const onReading = () => download.tell({ stage: 'verifying' });
      if (await isComplete(file, download.signal, onReading)) this.complete.add(index);
    }
    voice.started(this.totalBytes, this.meter.bytes);
    this.meter.begin(this.meter.bytes);
  }

  private async append(
    index: number,
    offset: number,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ offset: number }> {
    const file = this.options.files[index];
    if (!file) throw new RbeeError('INVALID_REQUEST', `the model has no file ${index}`, { details: { index } });
    signal.throwIfAborted();
    if (this.complete.has(index)) {
      if (offset === file.sizeBytes) return { offset };
      throw wrongOffset(file, file.sizeBytes);
    }
    if (this.over) throw new RbeeError('CANCELLED', `the import of ${this.options.download.modelRef} has ended`);
    const partial = await this.openFile(index, file, signal);
    if (offset !== partial.offset) throw wrongOffset(file, partial.offset);
    const before = this.completeBytes;
    try {
      for await (const chunk of untilAborted(bytes, signal)) {
        this.stall?.touch();
        await this.endOnFailure(partial.write(chunk), signal);
        this.meter.advance(before + partial.offset);
      }
    } finally {
      this.meter.pause();
    }
    if (partial.offset === file.sizeBytes) await this.finish(index, partial, signal);
    return { offset: partial.offset };
  }

  private async openFile(index: number, file: PlacedFile, signal: AbortSignal): Promise<PartialFile> {
    if (this.open?.index === index) return this.open.partial;
    await this.release();
    // What is there already is read, however long that takes.
    this.stall?.pause();
    const opening = PartialFile.open(file.target, file, signal).finally(() => this.stall?.touch());
    const partial = await this.endOnFailure(opening, signal);
    this.open = { index, partial };
    return partial;
  }

  private async finish(index: number, partial: PartialFile, signal: AbortSignal): Promise<void> {
    this.options.download.tell({ stage: 'verifying' });
    this.stall?.pause();
    await this.endOnFailure(partial.commit(), signal);
    this.open = undefined;
    this.complete.add(index);
    this.stall?.touch();
    this.endIfComplete();
  }

  private endIfComplete(): void {
    if (this.complete.size === this.options.files.length) this.outcome.resolve();
  }

  /** What the disk or the digest refuses ends the import; a file that another process still has open does not. */
  private async endOnFailure<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const isFinal = isRbeeError(error) && error.details.busy !== true && error !== signal.reason;
      if (isFinal) this.outcome.reject(error);
      throw error;
    }
  }

  private get completeBytes(): number {
    return this.options.files.reduce(
      (sum, { sizeBytes }, index) => sum + (this.complete.has(index) ? sizeBytes : 0),
      0,
    );
  }

  private async offsetOf(index: number): Promise<number> {
    const file = this.options.files[index];
    if (file === undefined) return 0;
    if (this.complete.has(index)) return file.sizeBytes;
    if (this.open?.index === index) return this.open.partial.offset;
    return readPartialSize(file.target, file);
  }

  /** Ends what is being written and closes the file; what has come stays. */
  private async release(): Promise<void> {
    const { open } = this;
    this.open = undefined;
    await open?.partial.suspend();
  }
}

function wrongOffset({ name }: PlacedFile, offset: number): RbeeError {
  return new RbeeError('INVALID_REQUEST', `the next bytes of ${name} belong at ${offset}`, {
    details: { file: name, offset },
    suggestion: 'go on from this offset',
  });
}

function supersededError(): RbeeError {
  return new RbeeError('CANCELLED', 'another piece of the same file has come: this one was given up');
}

function stalledError(modelRef: string, stallMs: number): RbeeError {
  const waited = formatDuration(stallMs);
  return new RbeeError('DOWNLOAD_TIMEOUT', `no byte of ${modelRef} came from the other node for ${waited}`, {
    details: { model: modelRef, timeout_ms: stallMs, reason: `no byte came for ${waited}` },
    suggestion: 'repeat the command: it goes on where it stopped',
  });
}
