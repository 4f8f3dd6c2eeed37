import type { Clock } from '@rbee/daemon-kit';
import {
  formatModelRef,
  type Model,
  type ModelRef,
  type PlannedWorker,
  parseModelRef,
  RbeeError,
} from '@rbee/protocol';
import type { ModelCatalog } from '../catalog/model-catalog.js';
import { describeModelFile, slugOf } from '../catalog/model-file.js';
import type { Accept, Downloads, Requested } from '../downloads/downloads.js';
import type { HubRef } from '../hub/choose-variant.js';
import { resolveFileRef } from './file-ref.js';

export interface ProvisionerOptions {
  catalog: ModelCatalog;
  downloads: Downloads;
  clock: Clock;
  /** Whether a worker for a model of this size would fit; throws when not. */
  checkWorker: (modelRef: string, sizeBytes: number, worker: PlannedWorker) => Promise<void>;
  /** Folders that `file:` references may point into. */
  roots: readonly string[];
}

/** Turns a model reference into files on this machine, which the catalog knows afterwards. */
export class Provisioner {
  constructor(private readonly options: ProvisionerOptions) {}

  /**
   * The model that a reference means, if it is on this machine. Throws MODEL_NOT_FOUND for a file or a bundled model that
   * is not there, INVALID_MODEL_REF, INVALID_PATH, UNSUPPORTED_MODEL_FORMAT or CATALOG_UNAVAILABLE.
   */
  async find(modelRef: string): Promise<Model | undefined> {
    const ref = parse(modelRef);
    if (ref.provider === 'local') return this.provideFile(ref);
    const model = await this.options.catalog.find(ref);
    if (model === undefined && ref.provider === 'builtin') throw await this.notBundled(ref);
    return model;
  }

  /**
   * Begins to fetch a model of the hub that is not on this machine, or joins whoever does; the caller holds the download
   * until it is released. With a worker in mind nothing is fetched that it has no memory for. Throws what the hub answers,
   * INSUFFICIENT_DISK, what `checkWorker` throws, or as `find`.
   */
  async fetch(modelRef: string, correlationId: string, worker?: PlannedWorker): Promise<Requested> {
    const ref = parse(modelRef);
    if (ref.provider === 'hf') return this.fetchFromHub(ref, correlationId, worker);
    const model = await this.find(modelRef);
    if (model !== undefined) return { model };
    throw new TypeError(`${modelRef} is neither found nor refused`);
  }

  /** Whether a worker for a model of this size would fit on this machine. Throws what stands against it. */
  checkWorker(modelRef: string, sizeBytes: number, worker: PlannedWorker): Promise<void> {
    return this.options.checkWorker(modelRef, sizeBytes, worker);
  }

  /** Notes that a worker uses the model, for whoever has to choose what may be deleted. */
  async markUsed(model: Model): Promise<void> {
    await this.options.catalog.markUsed(model.id, this.nowUnix());
  }

  private async fetchFromHub(ref: HubRef, correlationId: string, worker: PlannedWorker | undefined) {
    const accept: Accept = async (named, sizeBytes) => worker && this.options.checkWorker(named, sizeBytes, worker);
    return this.options.downloads.request(ref, correlationId, accept);
  }

  private async provideFile(ref: ModelRef & { provider: 'local' }): Promise<Model> {
    const { catalog, roots } = this.options;
    const known = await catalog.find(ref);
    const path = await resolveFileRef(ref.reference, roots);
    if (known?.local_path === path) return known;
    const columns = await describeModelFile(path);
    const identity = { ...ref, variant: null, downloaded_at_unix: this.nowUnix() };
    return catalog.put({ ...identity, ...columns }, slugOf(path, columns.quantization));
  }

  private async notBundled(ref: ModelRef & { provider: 'builtin' }): Promise<RbeeError> {
    const text = formatModelRef(ref);
    const rows = await this.options.catalog.list(ref.provider);
    const variants = rows.flatMap(({ reference, variant }) =>
      reference === ref.reference && variant ? [variant] : [],
    );
    const listed = variants.length > 0 ? `; available variants: ${variants.join(', ')}` : '';
    const [first] = variants;
    return new RbeeError('MODEL_NOT_FOUND', `${text} does not come with this version of rbee${listed}`, {
      details: { model: text, variants },
      suggestion: first
        ? `use --model ${formatModelRef({ ...ref, variant: first })}`
        : 'leave --model out to use the model that comes with rbee',
    });
  }

  private nowUnix(): number {
    return Math.floor(this.options.clock.now() / 1000);
  }
}

function parse(modelRef: string): ModelRef {
  const ref = parseModelRef(modelRef);
  if (ref !== undefined) return ref;
  throw new RbeeError('INVALID_MODEL_REF', 'the model reference has none of the accepted forms');
}
