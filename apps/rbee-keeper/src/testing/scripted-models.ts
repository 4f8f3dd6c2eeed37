import type { EventStream, Handlers } from '@rbee/daemon-kit';
import {
  type ModelVariant,
  type NodeModel,
  type NodeModels,
  type NodeRemoval,
  type NodeScan,
  type PullEvent,
  type PullRequest,
  type queenRoutes,
  RbeeError,
} from '@rbee/protocol';

type ModelRoutes = 'listModels' | 'pullModel' | 'scanModels' | 'modelVariants' | 'removeModel';

/** Tells how a model comes: sends events and ends the stream, or throws. */
type PullScript = (request: PullRequest, stream: EventStream<PullEvent>, signal: AbortSignal) => Promise<void>;

const MIB = 2 ** 20;

/** What a scripted queen answers about models, and what it was asked. */
export class ScriptedModels {
  /** Each as `listModels workstation`. */
  readonly asked: string[] = [];
  readonly pulled: PullRequest[] = [];
  models: NodeModel[] = [];
  downloads: NodeModels['downloads'] = [];
  unasked: NodeModels['unasked'] = [];
  variants: ModelVariant[] = [];
  /** What a scan finds. */
  found: Partial<NodeScan> = {};
  /** Whether the files of a model lie in the models folder. */
  removesFiles = true;
  pull: PullScript = download;

  readonly handlers: Pick<Handlers<typeof queenRoutes>, ModelRoutes> = {
    listModels: async ({ query: { node } }) => {
      this.asked.push(`listModels ${node ?? 'all'}`);
      const isMeant = (item: { node: string }) => node === undefined || item.node === node;
      return {
        models: this.models.filter(isMeant),
        downloads: this.downloads.filter(isMeant),
        unasked: this.unasked.filter(isMeant),
      };
    },
    pullModel: async ({ body, signal }, stream) => {
      this.pulled.push(body);
      await this.pull(body, stream, signal);
    },
    scanModels: async ({ body: { node = 'localhost' } }) => {
      this.asked.push(`scanModels ${node}`);
      return { node, added: [], removed: [], changed: [], refused: [], removed_partials: [], ...this.found };
    },
    modelVariants: async ({ query: { model, node = 'localhost' } }) => {
      this.asked.push(`modelVariants ${model} ${node}`);
      return { node, model_ref: model.replace(/^(hf:[^:]+):.*$/, '$1'), variants: this.variants };
    },
    removeModel: async ({ params: { id }, query: { node = 'localhost' } }): Promise<NodeRemoval> => {
      this.asked.push(`removeModel ${id} ${node}`);
      const model = this.models.find((item) => item.id === id && item.node === node);
      if (!model) throw new RbeeError('MODEL_NOT_FOUND', `there is no model ${id}`);
      const file_removed = this.removesFiles;
      return { node, model, freed_bytes: file_removed ? model.size_bytes : 0, file_removed };
    },
  };
}

/** A model of the hub on a node, but for what is given. */
export function modelOf(node: string, parts: Partial<NodeModel> = {}): NodeModel {
  return {
    node,
    id: 'tiny-q4_k_m',
    provider: 'hf',
    reference: 'org/tiny',
    variant: 'Q4_K_M',
    model_ref: 'hf:org/tiny:Q4_K_M',
    local_path: '/models/hf/org/tiny/Q4_K_M/tiny.Q4_K_M.gguf',
    size_bytes: 668.8 * MIB,
    downloaded_at_unix: new Date(2030, 5, 9, 12, 0, 5).getTime() / 1000,
    digest: 'a'.repeat(64),
    facts: {
      architecture: 'llama',
      layers: 22,
      context_length: 2048,
      vocab_size: 32_000,
      quantization: 'Q4_K_M',
      has_chat_template: true,
    },
    ...parts,
  };
}

/** A state of a download of 100 MB. */
export function progressAt(percent: number, parts: Partial<Extract<PullEvent, { type: 'progress' }>> = {}): PullEvent {
  return {
    type: 'progress',
    phase: 'download',
    stage: 'downloading',
    bytes_downloaded: percent * MIB,
    bytes_total: 100 * MIB,
    speed_mbps: (25 * MIB * 8) / 1e6,
    eta_seconds: (100 - percent) / 25,
    ...parts,
  };
}

/** A line of narration about a download. */
export function toldOf(human: string, level?: 'warn'): PullEvent {
  const subject = { actor: 'model-provisioner', action: 'download', target: 'hf:org/tiny:Q4_K_M' };
  return { type: 'narration', ...subject, human, ...(level === undefined ? {} : { level }) };
}

/** A download from the hub that goes well. */
const download: PullScript = async ({ node = 'localhost' }, stream) => {
  stream.send(toldOf('downloading hf:org/tiny:Q4_K_M from huggingface.co: 100.0 MB'));
  for (let percent = 0; percent <= 100; percent += 5) stream.send(progressAt(percent));
  stream.send({ type: 'progress', phase: 'download', stage: 'verifying' });
  stream.send({ type: 'end', node, model: modelOf(node), source: 'hub', duration_ms: 12_300 });
};

/** Sends a state of a download and then nothing, until the client is gone. */
export const stopAt =
  (percent: number): PullScript =>
  async (_request, stream, signal) => {
    stream.send(progressAt(percent));
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    throw signal.reason;
  };
