import { access, constants, stat } from 'node:fs/promises';
import type { Clock } from '@rbee/daemon-kit';
import { formatModelRef, type Model, type ModelRef, parseModelRef, RbeeError } from '@rbee/protocol';
import type { ModelCatalog } from '../catalog/model-catalog.js';
import { describeModelFile, slugOf } from '../catalog/model-file.js';
import { resolveFileRef } from './file-ref.js';

export interface ProvisionerOptions {
  catalog: ModelCatalog;
  clock: Clock;
  /** Folders that `file:` references may point into. */
  roots: readonly string[];
}

/** Turns a model reference into a file on this machine, which the catalog knows afterwards. */
export class Provisioner {
  constructor(private readonly options: ProvisionerOptions) {}

  /**
   * The model that a reference means. Throws MODEL_NOT_FOUND, INVALID_MODEL_REF, INVALID_PATH,
   * UNSUPPORTED_MODEL_FORMAT or CATALOG_UNAVAILABLE.
   */
  async provide(modelRef: string): Promise<Model> {
    const ref = parseModelRef(modelRef);
    if (ref === undefined)
      throw new RbeeError('INVALID_MODEL_REF', 'the model reference has none of the accepted forms');
    const model = ref.provider === 'local' ? await this.provideFile(ref) : await this.findPresent(ref);
    if (model === undefined) throw await this.notFound(ref);
    return model;
  }

  /** Notes that a worker uses the model, for whoever has to choose what may be deleted. */
  async markUsed(model: Model): Promise<void> {
    await this.options.catalog.markUsed(model.id, this.nowUnix());
  }

  private async provideFile(ref: ModelRef & { provider: 'local' }): Promise<Model> {
    const { catalog, roots } = this.options;
    const known = await catalog.find(ref);
    const path = await resolveFileRef(ref.reference, roots).catch(async (error: unknown) => {
      if (known !== undefined) await catalog.remove(known);
      throw error;
    });
    if (known?.local_path === path && (await isUnchanged(known))) return known;
    const columns = await describeModelFile(path);
    const identity = { ...ref, variant: null, downloaded_at_unix: this.nowUnix() };
    return catalog.put({ ...identity, ...columns }, slugOf(path, columns.quantization));
  }

  /** The catalog's row if its file is still there; a row without its file is removed. */
  private async findPresent(ref: ModelRef): Promise<Model | undefined> {
    const model = await this.options.catalog.find(ref);
    if (model === undefined) return undefined;
    const readable = await access(model.local_path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (readable) return model;
    await this.options.catalog.remove(model);
    return undefined;
  }

  private async notFound(ref: ModelRef): Promise<RbeeError> {
    const text = formatModelRef(ref);
    const variants = await this.variantsOf(ref);
    if (variants.length > 0 || ref.provider !== 'hf') {
      const listed = variants.length > 0 ? `; available variants: ${variants.join(', ')}` : '';
      return new RbeeError('MODEL_NOT_FOUND', `${text} is not in the catalog of this node${listed}`, {
        details: { model: text, variants },
        suggestion:
          variants.length > 0
            ? `use --model ${formatModelRef({ ...ref, variant: variants[0] } as ModelRef)}`
            : 'leave --model out to use the model that comes with rbee',
      });
    }
    return new RbeeError(
      'MODEL_NOT_FOUND',
      `${text} is not in the catalog of this node, and this version of rbee does not download models`,
      {
        details: { model: text, variants },
        suggestion:
          "put the GGUF file into the node's models folder (default ~/.local/share/rbee/models) and use " +
          '--model file:///ABSOLUTE/PATH/MODEL.gguf, or leave --model out to use the model that comes with rbee',
      },
    );
  }

  private async variantsOf(ref: ModelRef): Promise<string[]> {
    const rows = await this.options.catalog.list(ref.provider);
    return rows.flatMap((row) => (row.reference === ref.reference && row.variant !== undefined ? [row.variant] : []));
  }

  private nowUnix(): number {
    return Math.floor(this.options.clock.now() / 1000);
  }
}

/** Whether the file still has the size that its facts were read from; of a split model its first part is smaller. */
async function isUnchanged(model: Model): Promise<boolean> {
  return (await stat(model.local_path)).size === model.size_bytes;
}
