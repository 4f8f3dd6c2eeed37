import { rm } from 'node:fs/promises';
import type { Clock, Logger, Narrate, Timeouts } from '@rbee/daemon-kit';
import {
  type ActiveDownload,
  findModel,
  formatModelRef,
  type ImportRequest,
  type ImportState,
  type KnownModel,
  type Model,
  type ModelRef,
  type ModelSource,
  type ModelVariant,
  parseModelRef,
  RbeeError,
  toRbeeError,
} from '@rbee/protocol';
import type { CompleteModel } from '../catalog/hub-models.js';
import { chooseVariant, type HubRef, type HubVariant } from '../hub/choose-variant.js';
import type { Hub, HubFile } from '../hub/hub.js';
import { Bandwidth } from './bandwidth.js';
import { describeVariants } from './describe-variants.js';
import { checkDisk } from './disk-check.js';
import { Download } from './download.js';
import { DownloadVoice } from './download-voice.js';
import { HubDownload } from './hub-download.js';
import { listInAttempts, type OnRetry } from './hub-listing.js';
import { ModelImport } from './model-import.js';
import { countPresentBytes, hubModelFolder, type PlacedFile, placeFile } from './model-place.js';
import type { ProgressMeter } from './progress-meter.js';
import { Turns } from './turns.js';

export interface DownloadsOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly modelsDir: string;
  /**
   * How many downloads from the hub run at once; copies from other nodes are bounded by whoever sends them. Read when it is
   * needed, as is the next one: who changes one of them calls `limitsChanged`.
   */
  readonly maxActive: number;
  /** Limit for all downloads from the hub together. */
  readonly bytesPerSecond: number | undefined;
  /** Free disk where models lie. */
  readonly freeBytes: () => Promise<number>;
  readonly find: (ref: ModelRef) => Promise<Model | undefined>;
  /** Enters a verified model into the catalog. */
  readonly register: (complete: CompleteModel) => Promise<Model>;
  readonly narrate: Narrate;
  /** Hears how each download ended. */
  readonly onEnd?: (end: DownloadEnd) => void;
}

export interface DownloadEnd {
  readonly source: ModelSource;
  readonly result: 'complete' | 'cancelled' | 'failed';
  readonly receivedBytes: number;
}

/** A download, held for the caller until it is released. */
export interface RequestedDownload {
  readonly download: Download;
  readonly release: () => void;
}

/** What a request for a model leads to: the model, where it has come meanwhile, or a download. */
export type Requested = RequestedDownload | { readonly model: Model };

/** Throws what stands against a model of this size; asked before anything of it is fetched. */
export type Accept = (modelRef: string, sizeBytes: number) => Promise<void>;

/** Path of the stream that tells how a download goes on. */
export function progressUrlOf({ id }: Pick<Download, 'id'>): string {
  return `/v1/models/download/progress?id=${id}`;
}

type NamedRef = HubRef & { readonly variant: string };

/** What brings the bytes of one download. */
interface Work {
  readonly meter: ProgressMeter;
  readonly totalBytes: number;
  /** Whether all digests were known before. */
  readonly verified: boolean;
  run(): Promise<CompleteModel>;
}

interface Active extends KnownModel {
  readonly download: Download;
  readonly work: Work;
  readonly voice: DownloadVoice;
}

const FINISHED_KEPT_MS = 60_000;

/** Owner of every download and import of a hive: one for each model, however many ask for it. */
export class Downloads {
  private readonly bandwidth: Bandwidth;
  private readonly turns: Turns;
  private readonly running = new Map<Active, Promise<void>>();
  /** Ended a moment ago, with what forgets them. */
  private readonly finished = new Map<Download, () => void>();
  /** What is being done for several callers at once. */
  private readonly listings = new Map<string, Promise<HubFile[]>>();
  private readonly starts = new Map<string, Promise<Active>>();
  private readonly closing = new AbortController();

  constructor(private readonly options: DownloadsOptions) {
    this.bandwidth = new Bandwidth(() => options.bytesPerSecond);
    this.turns = new Turns(() => options.maxActive);
  }

  /** Puts limits that have changed into effect: for downloads that run as well, and for those that wait for a turn. */
  limitsChanged(): void {
    this.bandwidth.changed();
    this.turns.changed();
  }

  /**
   * Joins the download of a model or begins it, unless the model is there; the caller holds it until it releases it. Throws
   * MODEL_NOT_FOUND, MODEL_ACCESS_DENIED, DOWNLOAD_FAILED or INSUFFICIENT_DISK when there is nothing to begin, or what
   * `accept` throws.
   */
  async request(ref: HubRef, correlationId?: string, accept?: Accept): Promise<Requested> {
    for (;;) {
      this.closing.signal.throwIfAborted();
      const model = await this.options.find(ref);
      if (model) return { model };
      // The catalog will have it in a while, and would mean the same by this reference.
      const joined = findModel([...this.running.keys()], ref);
      if (joined) await accept?.(joined.download.modelRef, joined.work.totalBytes);
      const active = joined ?? (await this.beginOrModel(ref, correlationId, accept));
      if (!('download' in active)) return active;
      const { download } = active;
      if (!download.signal.aborted) return { download, release: download.hold() };
      // It is being ended because nobody needed it: the next one goes on from what it leaves.
      await this.running.get(active);
    }
  }

  /** Begins to take in a model from another node, or goes on with it; the hold is lent to the caller. Throws INSUFFICIENT_DISK. */
  async import({ model_ref, files }: ImportRequest, correlationId?: string): Promise<ImportState> {
    const ref = requireNamedRef(model_ref);
    if (new Set(files.map(({ name }) => name.toLowerCase())).size < files.length) {
      throw new RbeeError('INVALID_REQUEST', 'two files of the model have the same name', { details: { files } });
    }
    for (;;) {
      this.closing.signal.throwIfAborted();
      if (await this.options.find(ref)) return { download_id: 'cached', files: [] };
      const joined = findModel([...this.running.keys()], ref);
      const active = joined ?? (await this.startOnce(ref, () => this.beginImport(ref, files, correlationId)));
      const { download, work } = active;
      if (download.signal.aborted) {
        await this.running.get(active);
        continue;
      }
      download.lend(download.hold());
      const state = work instanceof ModelImport ? await work.state() : [];
      return { download_id: download.id, files: state, progress_url: progressUrlOf(download) };
    }
  }

  /** Appends bytes to a file of an import; resolves with where it ends then. Throws NOT_FOUND, INVALID_REQUEST, or what ended the import. */
  async writeFile(
    id: string,
    index: number,
    offset: number,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ offset: number }> {
    const download = this.find(id);
    const active = this.activeOf(download);
    if (!active) {
      await download.done;
      throw new RbeeError('INVALID_REQUEST', `${download.modelRef} is complete: nothing more is taken in`);
    }
    if (active.work instanceof ModelImport) return active.work.write(index, offset, bytes, signal);
    throw new RbeeError('INVALID_REQUEST', `${download.modelRef} comes from the hub: it takes nothing from a node`);
  }

  /** A download by its id, also one that ended in the last minute; without an id the only active one. Throws NOT_FOUND or INVALID_REQUEST. */
  find(id?: string): Download {
    const active = [...this.running.keys()].map(({ download }) => download);
    if (id === undefined) {
      const [only, ...others] = active;
      if (only && others.length === 0) return only;
      throw new RbeeError('INVALID_REQUEST', `${active.length} downloads are active: one has to be named`, {
        details: { downloads: active.map((download) => download.id) },
        suggestion: 'name one with ?id=; GET /v1/models/list tells the ids',
      });
    }
    const found = [...active, ...this.finished.keys()].find((download) => download.id === id);
    if (found) return found;
    throw new RbeeError('NOT_FOUND', `there is no download ${id}; those that have ended are known for 60 s`, {
      details: { download_id: id },
    });
  }

  /** Takes back one request whose hold was lent. `ended`: nobody else needs the download, and it has ended. Throws NOT_FOUND. */
  async cancel(id: string): Promise<{ ended: boolean }> {
    const download = this.find(id);
    download.takeBack();
    if (download.signal.aborted) await download.settled;
    return { ended: download.ended };
  }

  active(): ActiveDownload[] {
    return [...this.running.keys()].map(({ download: { id, modelRef, source, progress } }) => {
      return { download_id: id, model_ref: modelRef, source, progress };
    });
  }

  /** What a repository of the hub has to choose from. Throws as `request`. */
  async variants(ref: HubRef): Promise<ModelVariant[]> {
    const files = await this.list(ref.reference);
    return describeVariants(ref, files, async (variant) => (await this.options.find(variant)) !== undefined);
  }

  /** Ends everything; what has come is kept. */
  async close(): Promise<void> {
    this.closing.abort(new RbeeError('CANCELLED', 'the hive is shutting down'));
    // A start that is under way sees the signal, or its download is running by then.
    await Promise.allSettled([...this.starts.values(), ...this.listings.values()]);
    for (const { download } of this.running.keys()) download.cancel('the hive is shutting down');
    await Promise.all(this.running.values());
    for (const forget of this.finished.values()) forget();
  }

  private async beginOrModel(
    ref: HubRef,
    correlationId: string | undefined,
    accept: Accept | undefined,
  ): Promise<Active | { model: Model }> {
    const chosen = chooseVariant(ref, await this.list(ref.reference, correlationId));
    const named: NamedRef = { ...ref, variant: chosen.variant };
    await accept?.(formatModelRef(named), chosen.sizeBytes);
    const model = await this.options.find(named);
    if (model) return { model };
    const joined = findModel([...this.running.keys()], named);
    return joined ?? this.startOnce(named, () => this.beginDownload(named, chosen, correlationId));
  }

  /** One start for callers that come at the same time. */
  private startOnce(ref: NamedRef, begin: () => Promise<Active>): Promise<Active> {
    const key = formatModelRef(ref).toLowerCase();
    return shareWork(this.starts, key, begin);
  }

  private async beginDownload(ref: NamedRef, chosen: HubVariant, correlationId: string | undefined): Promise<Active> {
    const folder = hubModelFolder(this.options.modelsDir, ref.reference, ref.variant);
    const files = chosen.files.map((file) => placeFile(folder, file.path, file));
    const disk = await this.lookAtDisk(files);
    this.requireDisk(ref, disk);
    const download = new Download(formatModelRef(ref), 'hub');
    const voice = this.voiceOf(download.modelRef, this.hubHost, correlationId);
    const { bandwidth } = this;
    const work = new HubDownload({ ...this.options, bandwidth }, { download, voice, ref, chosen, folder });
    work.meter.bytes = disk.presentBytes;
    return this.launch({ ...ref, local_path: files[0]?.target ?? '', download, work, voice }, async () => {
      let said = false;
      return this.turns.enter(download.signal, (position) => {
        download.tell({ stage: 'waiting', position });
        if (!said) voice.waiting(position);
        said = true;
      });
    });
  }

  private async beginImport(
    ref: NamedRef,
    announced: ImportRequest['files'],
    correlationId: string | undefined,
  ): Promise<Active> {
    const { clock, timeouts, modelsDir } = this.options;
    const { reference, variant } = ref;
    const folder = hubModelFolder(modelsDir, reference, variant);
    const files = announced.map(({ name, size_bytes, digest }) => {
      return placeFile(folder, name, { sizeBytes: size_bytes, digest });
    });
    this.requireDisk(ref, await this.lookAtDisk(files));
    const download = new Download(formatModelRef(ref), 'node');
    const voice = this.voiceOf(download.modelRef, 'another node', correlationId);
    const work = new ModelImport({ clock, timeouts, download, voice, reference, variant, folder, files });
    return this.launch({ ...ref, local_path: files[0]?.target ?? '', download, work, voice }, async () => () => {
      // Nobody waits for a turn behind it.
    });
  }

  private launch(active: Active, enter: () => Promise<() => void>): Active {
    this.closing.signal.throwIfAborted();
    this.running.set(active, this.work(active, enter));
    return active;
  }

  /** Takes a download from its turn to its end. */
  private async work(active: Active, enter: () => Promise<() => void>): Promise<void> {
    const { clock, onEnd } = this.options;
    const { download, work, voice } = active;
    let leave: (() => void) | undefined;
    let startedAt = clock.monotonic();
    const finish = (result: DownloadEnd['result']) => {
      leave?.();
      this.running.delete(active);
      this.keepForAWhile(download);
      onEnd?.({ source: download.source, result, receivedBytes: work.meter.received });
    };
    try {
      leave = await enter();
      startedAt = clock.monotonic();
      const complete = await work.run();
      const model = await this.register(complete);
      finish('complete');
      voice.completed(work.meter.received, clock.monotonic() - startedAt, work.verified);
      download.complete(model);
    } catch (error) {
      const reason = toRbeeError(error);
      if (reason.code === 'INTERNAL_ERROR') this.options.log.error({ error }, 'a download failed in an unforeseen way');
      finish(reason.code === 'CANCELLED' ? 'cancelled' : 'failed');
      voice.failed(reason, work.meter.percent, clock.monotonic() - startedAt);
      download.fail(reason);
    }
  }

  /** A file that is no model after all would be taken for a complete one by the next download. */
  private async register(complete: CompleteModel): Promise<Model> {
    try {
      return await this.options.register(complete);
    } catch (error) {
      if (toRbeeError(error).code === 'UNSUPPORTED_MODEL_FORMAT') {
        const folder = complete.path.slice(0, complete.path.lastIndexOf('/') + 1);
        for (const { name } of complete.files) await rm(`${folder}${name}`, { force: true });
      }
      throw error;
    }
  }

  /** The files of a repository, listed once for all who ask at the same time. */
  private list(repo: string, correlationId?: string): Promise<HubFile[]> {
    const voice = this.voiceOf(`hf:${repo}`, this.hubHost, correlationId);
    const onRetry: OnRetry = (reason, ...next) =>
      voice.retrying(`the files of hf:${repo} did not come: ${reason}`, ...next);
    return shareWork(this.listings, repo, () => listInAttempts(this.options, repo, this.closing.signal, onRetry));
  }

  private async lookAtDisk(files: readonly PlacedFile[]) {
    const presentBytes = await countPresentBytes(files);
    const missingBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) - presentBytes;
    return { presentBytes, missingBytes, freeBytes: await this.options.freeBytes() };
  }

  /** Throws INSUFFICIENT_DISK. Nothing may be awaited from here to the launch, or two could be promised the same bytes. */
  private requireDisk(ref: NamedRef, { missingBytes, freeBytes }: { missingBytes: number; freeBytes: number }): void {
    const others = [...this.running.keys()].map(({ work }) => work.totalBytes - work.meter.bytes);
    const promisedBytes = others.reduce((sum, bytes) => sum + Math.max(0, bytes), 0);
    checkDisk({ modelRef: formatModelRef(ref), missingBytes, freeBytes, promisedBytes });
  }

  private get hubHost(): string {
    return new URL(this.options.hub.endpoint).host;
  }

  private voiceOf(modelRef: string, from: string, correlationId: string | undefined): DownloadVoice {
    return new DownloadVoice({ narrate: this.options.narrate, modelRef, correlationId, from });
  }

  private activeOf(download: Download): Active | undefined {
    return [...this.running.keys()].find((active) => active.download === download);
  }

  private keepForAWhile(download: Download): void {
    if (this.closing.signal.aborted) return;
    const cancel = this.options.clock.after(FINISHED_KEPT_MS, () => this.finished.delete(download));
    this.finished.set(download, cancel);
  }
}

/** Does a piece of work once for all who ask for it while it goes on. */
function shareWork<T>(ongoing: Map<string, Promise<T>>, key: string, begin: () => Promise<T>): Promise<T> {
  const shared = ongoing.get(key) ?? begin().finally(() => ongoing.delete(key));
  ongoing.set(key, shared);
  return shared;
}

function requireNamedRef(modelRef: string): NamedRef {
  const ref = parseModelRef(modelRef);
  if (ref?.provider === 'hf' && ref.variant !== undefined) return { ...ref, variant: ref.variant };
  throw new RbeeError('INVALID_REQUEST', 'only a model of the hub can be taken in, named with its variant', {
    details: { model: modelRef },
    suggestion: 'name it like this: hf:ORG/REPO:VARIANT',
  });
}
