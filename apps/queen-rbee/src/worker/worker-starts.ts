import { randomUUID } from 'node:crypto';
import { orAborted } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import { modelKey } from '../placement/same-model.js';
import type { PendingStart, Wanted } from '../placement/snapshot.js';
import { Crowd, type Listener } from './crowd.js';
import type { Ahead, StartContext, WorkerStarter } from './worker-starter.js';

interface Start extends PendingStart {
  readonly node: string;
  worker: string | undefined;
  readonly crowd: Crowd;
  readonly done: Promise<string>;
  /** Ends what the start does now, where that is of use only to those who wait. */
  unwanted: AbortController | undefined;
}

/** Whose start it is, and who waits for it. */
export interface Waiting {
  readonly correlationId: string;
  readonly signal: AbortSignal;
  readonly listener: Listener;
}

/**
 * The workers that are being started. Tasks that need the same worker share one start. A start goes on when the tasks
 * that waited for it are cancelled: its hive owns the worker, and the next task finds it. Only a model that is on its way
 * for nobody does not get there.
 */
export class WorkerStarts {
  readonly #starter: WorkerStarter;
  readonly #starts = new Map<string, Start>();
  /** Every start that has not come to its end, those included that nobody waited for. */
  readonly #running = new Set<Promise<unknown>>();

  constructor(starter: WorkerStarter) {
    this.#starter = starter;
  }

  /** Starts that run on a node now. */
  pending(node: string): PendingStart[] {
    return [...this.#starts.values()].filter((start) => start.node === node);
  }

  /** Starts a worker, or waits for the same start of another task; resolves with the worker's id once it takes jobs. */
  start(node: LiveNode, wanted: Wanted, waiting: Waiting): Promise<string> {
    const { model, backend } = wanted;
    const device = knownDevice(wanted);
    const key = [node.name, modelKey(model), backend, device ?? 'any'].join(' ');
    const facts = { key, node: node.name, model, backend, device, worker: undefined };
    return this.#share(facts, waiting, (context) => this.#starter.start(node, { ...wanted, device }, context));
  }

  /** Starts one more worker, whatever runs or starts already; a task that needs such a one may wait for it as for any other start. */
  startAnother(node: LiveNode, wanted: Wanted, ahead: Ahead, waiting: Waiting): Promise<string> {
    const { model, backend } = wanted;
    const device = knownDevice(wanted);
    const key = [node.name, modelKey(model), backend, device ?? 'any', randomUUID()].join(' ');
    const facts = { key, node: node.name, model, backend, device, worker: undefined };
    return this.#share(facts, waiting, (context) => this.#starter.start(node, { ...wanted, device }, context, ahead));
  }

  /** Waits for a worker that is loading already. */
  follow(node: LiveNode, workerId: string, waiting: Waiting): Promise<string> {
    const worker = node.worker(workerId);
    if (!worker) return Promise.resolve(workerId);
    const { model_ref: model, backend, device } = worker;
    const facts = { key: `${node.name} ${workerId}`, node: node.name, model, backend, device, worker: workerId };
    return this.#share(facts, waiting, (context) =>
      this.#starter.followOrReplace(node, workerId, { model, backend, device }, context),
    );
  }

  /** Waits for a start by its key; `undefined` when it has ended meanwhile. */
  async join(key: string, waiting: Waiting): Promise<string | undefined> {
    const start = this.#starts.get(key);
    return start && this.#join(start, waiting);
  }

  /** Resolves when no start runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  #share(
    facts: PendingStart & { node: string },
    waiting: Waiting,
    begin: (context: StartContext) => Promise<string>,
  ): Promise<string> {
    const running = this.#starts.get(facts.key);
    if (running) return this.#join(running, waiting);
    const crowd = new Crowd();
    const onWorker = (workerId: string) => {
      start.worker = workerId;
    };
    const whileWanted: StartContext['whileWanted'] = async (work) => {
      const unwanted = new AbortController();
      start.unwanted = unwanted;
      if (crowd.size === 0) this.#desert(start);
      try {
        return await work(unwanted.signal);
      } finally {
        start.unwanted = undefined;
      }
    };
    const { correlationId } = waiting;
    // One turn later, so that the first member is there to hear the first word.
    const done = Promise.resolve()
      .then(() => begin({ correlationId, listener: crowd, onWorker, whileWanted }))
      .finally(() => {
        this.#forget(start);
        this.#running.delete(done);
      });
    const start: Start = { ...facts, crowd, done, unwanted: undefined };
    this.#starts.set(facts.key, start);
    this.#running.add(done);
    // Its failure reaches those who wait; with nobody waiting it is in the log already.
    done.catch(() => undefined);
    return this.#wait(start, waiting);
  }

  #join(start: Start, waiting: Waiting): Promise<string> {
    waiting.listener.narrate({
      actor: 'queen-rbee',
      action: 'worker_spawn',
      target: start.worker ?? start.node,
      human: `waiting for a worker on ${start.node} that is being started already`,
    });
    return this.#wait(start, waiting);
  }

  async #wait(start: Start, { signal, listener }: Waiting): Promise<string> {
    const leave = start.crowd.add(listener);
    try {
      return await orAborted(start.done, signal);
    } finally {
      leave();
      if (start.crowd.size === 0) this.#desert(start);
    }
  }

  /** Nobody waits for it any more: what is only of use to those who wait is ended, and whoever comes next begins anew. */
  #desert(start: Start): void {
    if (!start.unwanted) return;
    this.#forget(start);
    start.unwanted.abort(new RbeeError('CANCELLED', `nobody waits for a worker with ${start.model} any more`));
  }

  #forget(start: Start): void {
    if (this.#starts.get(start.key) === start) this.#starts.delete(start.key);
  }
}

/** For some backends the hive's own choice is known beforehand. */
function knownDevice({ device, backend }: Wanted): number | undefined {
  return device ?? (/^(cpu|metal)$/.test(backend) ? 0 : undefined);
}
