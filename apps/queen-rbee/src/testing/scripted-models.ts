import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileReply, type Handlers, orAborted, Reply } from '@rbee/daemon-kit';
import {
  DEFAULT_VARIANTS,
  type DownloadProgress,
  findModel,
  type hiveRoutes,
  type ImportRequest,
  type Model,
  parseModelRef,
  RbeeError,
  toErrorEvent,
  toRbeeError,
} from '@rbee/protocol';
import type { Watch } from './watch.js';

type ModelRoutes =
  | 'listModels'
  | 'downloadModel'
  | 'downloadProgress'
  | 'cancelDownload'
  | 'modelVariants'
  | 'scanModels'
  | 'readModelFile'
  | 'importModel'
  | 'writeModelFile'
  | 'removeModel'
  | 'metrics';

/** A download or import of a scripted hive; its script says what is told of it. */
export class ScriptedDownload {
  readonly id = randomUUID();
  readonly abort = new AbortController();
  readonly #listeners = new Set<(event: DownloadProgress) => void>();
  /** Settles when somebody follows it. */
  readonly followed: Promise<void>;
  #noteFollowed: () => void = () => undefined;
  holders = 0;
  latest: DownloadProgress | undefined;
  /** What has come of an import, file by file. */
  readonly parts: Buffer[] = [];

  constructor(
    readonly modelRef: string,
    readonly source: 'hub' | 'node',
    readonly request?: ImportRequest,
  ) {
    this.followed = new Promise((resolve) => {
      this.#noteFollowed = resolve;
    });
  }

  readonly send = (event: DownloadProgress): void => {
    this.latest = event;
    for (const listener of this.#listeners) listener(event);
  };

  get ended(): boolean {
    return this.latest?.stage === 'complete' || this.latest?.stage === 'error';
  }

  /** Figures of a part that has come, of 100 bytes. */
  progress(bytes_downloaded: number, more: { resumed_from?: number } = {}): void {
    const { source } = this;
    this.send({ stage: 'downloading', bytes_downloaded, bytes_total: 100, speed_mbps: 8, source, ...more } as never);
  }

  fail(error: unknown): void {
    if (!this.ended) this.send({ ...toErrorEvent(toRbeeError(error)), stage: 'error' } as never);
  }

  follow(listener: (event: DownloadProgress) => void): () => void {
    if (this.latest) listener(this.latest);
    this.#listeners.add(listener);
    this.#noteFollowed();
    return () => this.#listeners.delete(listener);
  }
}

/** The models of a scripted hive, with their bytes. */
export class ScriptedModels {
  readonly held = new Map<string, Model>();
  readonly downloads = new Map<string, ScriptedDownload>();
  /** References that the hub was asked for, one for each download that began. */
  readonly hub: string[] = [];
  /** Offsets at which pieces of imports were taken. */
  readonly pieces: number[] = [];
  /** What a download from the hub does; resolves with the file's content. */
  fetch: (download: ScriptedDownload) => Promise<string> = async () => 'the weights of a model';
  /** What the answer to a request for a download waits for. */
  answer: Promise<void> = Promise.resolve();
  /** Error that answers the next piece of an import, if any. */
  pieceError: RbeeError | undefined;
  /** Error that answers each reading of a file, if any. */
  readError: RbeeError | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'scripted-models-'));
  readonly #watch: Watch;
  readonly #onModel: (change: 'added' | 'removed', model: Model) => void;

  constructor(watch: Watch, onModel: (change: 'added' | 'removed', model: Model) => void) {
    this.#watch = watch;
    this.#onModel = onModel;
  }

  /** Puts a model there, as one file for each content. */
  add(modelRef: string, ...contents: (string | Buffer)[]): Model {
    const ref = parseModelRef(modelRef);
    if (ref?.provider !== 'hf') throw new Error('only models of the hub are scripted');
    const variant = ref.variant ?? DEFAULT_VARIANTS.hf;
    const id = `${ref.reference.replace('/', '-')}-${variant}`.toLowerCase();
    const files = contents.map((content, index) => {
      const name = `m-${variant}-${index}.gguf`;
      writeFileSync(join(this.#folder, `${id}-${index}`), content);
      return { name, size_bytes: Buffer.byteLength(content), digest: digestOf(content) };
    });
    const model = {
      ...{ id, provider: 'hf', reference: ref.reference, variant, files },
      model_ref: `hf:${ref.reference}:${variant}`,
      local_path: join(this.#folder, `${id}-0`),
      size_bytes: files.reduce((sum, { size_bytes }) => sum + size_bytes, 0),
      downloaded_at_unix: 0,
      digest: files.length === 1 ? files[0]?.digest : undefined,
    } as Model;
    this.held.set(id, model);
    this.#onModel('added', model);
    return model;
  }

  cleanUp(): void {
    for (const { abort } of this.downloads.values()) abort.abort(new RbeeError('CANCELLED', 'the hive has ended'));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  handlers(): Pick<Handlers<typeof hiveRoutes>, ModelRoutes> {
    return {
      listModels: async () => ({
        models: [...this.held.values()],
        downloads: this.#active().map(({ id, modelRef, source, latest }) => ({
          ...{ download_id: id, model_ref: modelRef, source, progress: latest },
        })),
      }),
      downloadModel: async (call) => {
        const ref = parseModelRef(call.body.model_ref);
        const model = ref && findModel([...this.held.values()], ref);
        if (model)
          return new Reply({ download_id: 'cached', local_path: model.local_path, progress_url: undefined }, 200);
        const download = this.#activeOf(call.body.model_ref) ?? this.#beginFetch(call.body.model_ref);
        download.holders++;
        this.#watch.touch();
        await this.answer;
        return { download_id: download.id, local_path: null, progress_url: undefined };
      },
      downloadProgress: async (call, stream) => {
        const download = this.#get(call.query.id ?? '');
        let end: () => void = () => undefined;
        const over = new Promise<void>((resolve) => {
          end = resolve;
        });
        const leave = download.follow((event) => {
          stream.send(event);
          if (download.ended) end();
        });
        stream.open();
        this.#watch.touch();
        await orAborted(over, call.signal).finally(leave);
      },
      cancelDownload: async (call) => {
        const download = this.#get(call.params.download_id);
        download.holders--;
        const ended = download.holders <= 0;
        if (ended) {
          const reason = new RbeeError('CANCELLED', 'nobody needs the download');
          download.abort.abort(reason);
          download.fail(reason);
        }
        this.#watch.touch();
        return { message: 'noted', ended };
      },
      modelVariants: async (call) => ({ model_ref: call.query.model_ref, variants: [] }),
      scanModels: async () => ({ added: [], removed: [], changed: [], refused: [], removed_partials: [] }),
      readModelFile: async (call) => {
        if (this.readError) throw this.readError;
        return new FileReply(join(this.#folder, `${call.params.id}-${call.params.index}`));
      },
      importModel: async (call) => this.#import(call.body),
      writeModelFile: async (call) => {
        const download = this.#get(call.params.download_id);
        const { index } = call.params;
        const chunks: Uint8Array[] = [];
        for await (const chunk of call.upload) chunks.push(chunk);
        if (this.pieceError) {
          const error = this.pieceError;
          this.pieceError = undefined;
          throw error;
        }
        this.pieces.push(call.query.offset);
        download.parts[index] = Buffer.concat([download.parts[index] ?? Buffer.alloc(0), ...chunks]);
        this.#finishImport(download);
        return { offset: download.parts[index]?.length ?? 0 };
      },
      removeModel: async (call) => {
        const model = this.held.get(call.params.id);
        if (!model) throw new RbeeError('MODEL_NOT_FOUND', `there is no model ${call.params.id}`);
        this.held.delete(model.id);
        this.#onModel('removed', model);
        return { model, freed_bytes: model.size_bytes, file_removed: true };
      },
      metrics: async (_call, stream) => void stream.write(''),
    };
  }

  #active(): ScriptedDownload[] {
    return [...this.downloads.values()].filter(({ ended }) => !ended);
  }

  #activeOf(modelRef: string): ScriptedDownload | undefined {
    const reference = (text: string) => parseModelRef(text)?.reference;
    return this.#active().find((download) => reference(download.modelRef) === reference(modelRef));
  }

  #get(id: string): ScriptedDownload {
    const download = this.downloads.get(id);
    if (!download) throw new RbeeError('NOT_FOUND', `there is no download ${id}`);
    return download;
  }

  #beginFetch(modelRef: string): ScriptedDownload {
    const download = new ScriptedDownload(modelRef, 'hub');
    this.downloads.set(download.id, download);
    this.hub.push(modelRef);
    orAborted(this.fetch(download), download.abort.signal).then(
      (content) => {
        const { local_path } = this.add(modelRef, content);
        download.send({ stage: 'complete', local_path });
      },
      (error: unknown) => download.fail(error),
    );
    return download;
  }

  #import(request: ImportRequest) {
    const ref = parseModelRef(request.model_ref);
    if (ref && findModel([...this.held.values()], ref)) {
      return new Reply({ download_id: 'cached', files: [], progress_url: undefined }, 200);
    }
    let download = this.#activeOf(request.model_ref);
    if (!download) {
      download = new ScriptedDownload(request.model_ref, 'node', request);
      this.downloads.set(download.id, download);
    }
    download.holders++;
    this.#watch.touch();
    const { parts } = download;
    const files = (download.request?.files ?? []).map(({ name }, index) => ({
      name,
      offset: parts[index]?.length ?? 0,
    }));
    return { download_id: download.id, files, progress_url: undefined };
  }

  #finishImport(download: ScriptedDownload): void {
    const { parts, request } = download;
    const files = request?.files ?? [];
    if (!files.every(({ size_bytes }, index) => parts[index]?.length === size_bytes)) return;
    if (!files.every(({ digest }, index) => digestOf(parts[index] ?? '') === digest)) {
      download.fail(new RbeeError('CHECKSUM_MISMATCH', 'the copy is not what it should be'));
      return;
    }
    const { local_path } = this.add(download.modelRef, ...parts);
    download.send({ stage: 'complete', local_path });
  }
}

function digestOf(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
