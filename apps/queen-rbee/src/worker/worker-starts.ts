import { orAborted } from '@rbee/daemon-kit';
import type { LiveNode } from '../node/live-node.js';
import { modelKey } from '../placement/same-model.js';
import type { PendingStart, Wanted } from '../placement/snapshot.js';
import { Crowd, type Listener } from './crowd.js';
import { queueFull } from './worker-slots.js';
import type { WorkerStarter } from './worker-starter.js';

interface Start extends PendingStart {
  readonly node: string;
  readonly crowd: Crowd;
  readonly worker: Promise<string>;
}

/** Whose start it is, and who waits for it. */
export interface Waiting {
  readonly correlationId: string;
  readonly signal: AbortSignal;
  readonly listener: Listener;
}

/**
 * The workers that are being started. Tasks that need the same worker share one start. A start goes on when the tasks
 * that waited for it are cancelled: its hive owns the worker, and the next task finds it.
 */
export class WorkerStarts {
  readonly #starter: WorkerStarter;
  readonly #queueLength: number;
  readonly #starts = new Map<string, Start>();

  constructor(starter: WorkerStarter, queueLength: number) {
    this.#starter = starter;
    this.#queueLength = queueLength;
  }

  /** Starts that run on a node now. */
  pending(node: string): PendingStart[] {
    return [...this.#starts.values()].filter((start) => start.node === node);
  }

  /** Throws QUEUE_FULL when no further task may wait for a start. */
  checkCrowd(key: string): void {
    const waiting = this.#starts.get(key)?.crowd.size ?? 0;
    if (waiting < this.#queueLength) return;
    throw queueFull(`${waiting} tasks wait for the worker that is being started`, { waiting }, undefined);
  }

  /** Starts a worker, or waits for the same start of another task; resolves with the worker's id once it takes jobs. */
  start(node: LiveNode, wanted: Wanted, waiting: Waiting): Promise<string> {
    // For these backends the hive's own choice is known beforehand.
    const device = wanted.device ?? (/^(cpu|metal)$/.test(wanted.backend) ? 0 : undefined);
    const key = [node.name, modelKey(wanted.model), wanted.backend, device ?? 'any'].join(' ');
    const { correlationId } = waiting;
    return this.#share(
      { key, node: node.name, model: wanted.model, backend: wanted.backend, device },
      waiting,
      (crowd) => this.#starter.start(node, { ...wanted, device }, { correlationId, listener: crowd }),
    );
  }

  /** Waits for a worker that is loading already. */
  follow(node: LiveNode, workerId: string, waiting: Waiting): Promise<string> {
    const { correlationId } = waiting;
    const worker = node.worker(workerId);
    if (!worker) return Promise.resolve(workerId);
    const { model_ref: model, backend, device } = worker;
    return this.#share(
      { key: `${node.name} ${workerId}`, node: node.name, model, backend, device },
      waiting,
      async (crowd) => {
        await this.#starter.follow(node, workerId, { correlationId, listener: crowd });
        return workerId;
      },
    );
  }

  /** Waits for a start by its key; `undefined` when it has ended meanwhile. */
  async join(key: string, waiting: Waiting): Promise<string | undefined> {
    const start = this.#starts.get(key);
    return start && this.#wait(start, waiting);
  }

  /** Resolves when no start runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#starts.values()].map(({ worker }) => worker));
  }

  #share(
    facts: PendingStart & { node: string },
    waiting: Waiting,
    begin: (crowd: Crowd) => Promise<string>,
  ): Promise<string> {
    let start = this.#starts.get(facts.key);
    if (!start) {
      const crowd = new Crowd();
      // One turn later, so that the first member is there to hear the first word.
      const worker = Promise.resolve()
        .then(() => begin(crowd))
        .finally(() => this.#starts.delete(facts.key));
      start = { ...facts, crowd, worker };
      this.#starts.set(facts.key, start);
      // Its failure reaches those who wait; with nobody waiting it is in the log already.
      worker.catch(() => undefined);
    }
    return this.#wait(start, waiting);
  }

  async #wait(start: Start, { signal, listener }: Waiting): Promise<string> {
    this.checkCrowd(start.key);
    const leave = start.crowd.add(listener);
    try {
      return await orAborted(start.worker, signal);
    } finally {
      leave();
    }
  }
}
