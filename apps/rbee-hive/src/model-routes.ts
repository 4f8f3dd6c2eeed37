import { type EventStream, FileReply, type Handlers, Reply } from '@rbee/daemon-kit';
import {
  type DownloadProgress,
  formatModelRef,
  type hiveRoutes,
  type ModelRef,
  type ModelRemoval,
  parseModelRef,
  RbeeError,
} from '@rbee/protocol';
import { healModel } from './catalog/heal-model.js';
import type { ModelCatalog } from './catalog/model-catalog.js';
import { pathsOf } from './catalog/model-file.js';
import type { Download } from './downloads/download.js';
import { type Downloads, progressUrlOf } from './downloads/downloads.js';
import type { HiveMetrics } from './metrics/hive-metrics.js';
import type { Provisioner } from './provisioning/provisioner.js';
import type { ModelScans } from './scan/model-scans.js';

export interface ModelRouteParts {
  catalog: ModelCatalog;
  downloads: Downloads;
  provisioner: Provisioner;
  scans: ModelScans;
  /** Removes a model by its id. */
  remove: (id: string) => Promise<ModelRemoval>;
  metrics: HiveMetrics;
}

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

/** What a hive answers about its models. */
export function modelHandlers(parts: ModelRouteParts): Pick<Handlers<typeof hiveRoutes>, ModelRoutes> {
  const { catalog, downloads, provisioner, scans, remove, metrics } = parts;
  return {
    listModels: async ({ query }) => ({ models: await catalog.list(query.provider), downloads: downloads.active() }),
    async downloadModel({ body, correlationId }) {
      const found = await provisioner.find(body.model_ref);
      const requested = found ? { model: found } : await provisioner.fetch(body.model_ref, correlationId, body.worker);
      if ('model' in requested)
        return new Reply({ download_id: 'cached', local_path: requested.model.local_path }, 200);
      const { download, release } = requested;
      download.lend(release);
      return new Reply({ download_id: download.id, local_path: null, progress_url: progressUrlOf(download) }, 202);
    },
    downloadProgress: ({ query, signal }, stream) => writeProgress(downloads.find(query.id), stream, signal),
    async cancelDownload({ params }) {
      const { ended } = await downloads.cancel(params.download_id);
      const message = ended ? 'the download has ended; what is there is kept' : 'others still need the download';
      return { message, ended };
    },
    async modelVariants({ query }) {
      const ref = requireHubRef(query.model_ref);
      const { provider, reference } = ref;
      return { model_ref: formatModelRef({ provider, reference }), variants: await downloads.variants(ref) };
    },
    scanModels: ({ signal }) => scans.scan(signal),
    async readModelFile({ params }) {
      const model = await catalog.get(params.id);
      const path = pathsOf(model)[params.index];
      if (path === undefined) {
        throw new RbeeError('INVALID_REQUEST', `${model.model_ref} has no file ${params.index}`, {
          details: { model: model.id, files: pathsOf(model).length },
        });
      }
      // Whoever copies it goes by what the row says, and hears of its change or removal.
      if ((await healModel(catalog, model)) === model) return new FileReply(path);
      throw new RbeeError(
        'MODEL_NOT_FOUND',
        `${model.model_ref} is not what it was: its files were changed or removed`,
        {
          details: { model: model.id },
          suggestion: 'rbee-keeper models list shows what there is now',
        },
      );
    },
    async importModel({ body, correlationId }) {
      const sizeBytes = body.files.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
      if (body.worker !== undefined) await provisioner.checkWorker(body.model_ref, sizeBytes, body.worker);
      const state = await downloads.import(body, correlationId);
      return new Reply(state, state.download_id === 'cached' ? 200 : 202);
    },
    writeModelFile: ({ params, query, upload, signal }) =>
      downloads.writeFile(params.download_id, params.index, query.offset, upload, signal),
    removeModel: async ({ params }) => remove(params.id),
    async metrics(_call, stream) {
      stream.write(await metrics.render());
    },
  };
}

async function writeProgress(
  download: Download,
  stream: EventStream<DownloadProgress>,
  signal: AbortSignal,
): Promise<void> {
  stream.open();
  for await (const event of download.follow(signal)) if (!stream.send(event)) await stream.drained(signal);
}

function requireHubRef(modelRef: string): ModelRef & { provider: 'hf' } {
  const ref = parseModelRef(modelRef);
  if (ref?.provider === 'hf') return ref;
  throw new RbeeError('INVALID_MODEL_REF', 'only a repository of the hub has variants: hf:ORG/REPO', {
    suggestion: 'name it like this: hf:ORG/REPO',
  });
}
