import type { ModelMatcher } from './same-model.js';
import type { NodeView, Wanted, WorkerView } from './snapshot.js';

/** A worker of a snapshot, with its node. */
export interface FoundWorker {
  readonly node: NodeView;
  readonly worker: WorkerView;
  /** The start that the worker belongs to; until that has ended, tasks that wait for it come first. */
  readonly start: string | undefined;
}

/** The workers of a snapshot by what they run, so that each placement looks at those alone that may fit. */
export class WorkerIndex {
  /** By backend, then by the reference that the worker was started with. */
  readonly #byBackend = new Map<string, Map<string, FoundWorker[]>>();

  constructor(nodes: readonly NodeView[]) {
    for (const node of nodes) {
      const { starting } = node;
      for (const worker of node.workers) {
        const { worker_id, backend, model_ref } = worker;
        const start = starting.length === 0 ? undefined : starting.find((each) => each.worker === worker_id)?.key;
        this.#workersOf(backend, model_ref).push({ node, worker, start });
      }
    }
  }

  /** Workers that run the wanted model in the wanted way on a node where the task may go, whatever their state. */
  matching(wanted: Wanted, matcher: ModelMatcher, mayGo: (node: NodeView) => boolean): FoundWorker[] {
    const { backend, device, digest, excluded } = wanted;
    const matching: FoundWorker[] = [];
    for (const [modelRef, workers] of this.#byBackend.get(backend) ?? []) {
      if (!matcher.mayMatch(modelRef)) continue;
      for (const found of workers) {
        const { node, worker } = found;
        if ((device ?? worker.device) !== worker.device || (digest ?? worker.model_digest) !== worker.model_digest)
          continue;
        if (excluded?.has(worker.worker_id) || !mayGo(node) || !matcher.matches(modelRef, node.models)) continue;
        matching.push(found);
      }
    }
    return matching;
  }

  #workersOf(backend: string, modelRef: string): FoundWorker[] {
    let byModel = this.#byBackend.get(backend);
    if (!byModel) {
      byModel = new Map();
      this.#byBackend.set(backend, byModel);
    }
    let workers = byModel.get(modelRef);
    if (!workers) {
      workers = [];
      byModel.set(modelRef, workers);
    }
    return workers;
  }
}
