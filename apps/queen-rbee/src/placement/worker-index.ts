import type { ModelMatcher } from './same-model.js';
import type { NodeView, Wanted, WorkerView } from './snapshot.js';

/** A worker of a snapshot, with its node. */
export interface FoundWorker {
  readonly node: NodeView;
  readonly worker: WorkerView;
  /** The start that the worker belongs to; until that has ended, tasks that wait for it come first. */
  readonly start: string | undefined;
  /** Jobs that this queen has running on it: those of the snapshot, and those that were given to it since. */
  inFlight: number;
}

/** The workers of a snapshot by what they run, so that each placement looks at those alone that may fit. */
export class WorkerIndex {
  readonly #byModel = new Map<string, { readonly modelRef: string; readonly workers: FoundWorker[] }>();

  constructor(nodes: readonly NodeView[]) {
    for (const node of nodes) {
      for (const worker of node.workers) {
        const { worker_id, backend, model_ref: modelRef, inFlight } = worker;
        const start = node.starting.find((each) => each.worker === worker_id)?.key;
        const key = `${backend} ${modelRef}`;
        const found = { node, worker, start, inFlight };
        const same = this.#byModel.get(key);
        if (same) same.workers.push(found);
        else this.#byModel.set(key, { modelRef, workers: [found] });
      }
    }
  }

  /** Workers that run the wanted model in the wanted way on a node where the task may go, whatever their state. */
  matching(wanted: Wanted, matcher: ModelMatcher, mayGo: (node: NodeView) => boolean): FoundWorker[] {
    const { backend, device, digest, excluded } = wanted;
    const matching: FoundWorker[] = [];
    for (const { modelRef, workers } of this.#byModel.values()) {
      if (!matcher.mayMatch(modelRef)) continue;
      for (const found of workers) {
        const { node, worker } = found;
        if (worker.backend !== backend) break;
        if ((device ?? worker.device) !== worker.device || (digest ?? worker.model_digest) !== worker.model_digest)
          continue;
        if (excluded?.has(worker.worker_id) || !mayGo(node) || !matcher.matches(modelRef, node.models)) continue;
        matching.push(found);
      }
    }
    return matching;
  }

  find(workerId: string): FoundWorker | undefined {
    for (const { workers } of this.#byModel.values()) {
      const found = workers.find(({ worker }) => worker.worker_id === workerId);
      if (found) return found;
    }
    return undefined;
  }
}
