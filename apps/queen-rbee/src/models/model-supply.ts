import { type Clock, type Logger, orAborted, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, type Model, type ModelRef, type PlannedWorker, parseModelRef, RbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import { mayBeSameModel, modelKey } from '../placement/same-model.js';
import { Crowd, type Listener } from '../worker/crowd.js';
import { chooseGiver, type Giver } from './choose-giver.js';
import { copyFromNode, type SendFiles } from './copy-from-node.js';
import { DownloadTeller } from './download-teller.js';
import { fetchFromHub } from './fetch-from-hub.js';
import type { SupplyContext } from './supply-context.js';

/** How often what breaks is gone on with before another way is taken; a hive tries the hub as often. */
const ATTEMPTS = 6;

export interface SupplyRequest {
  readonly correlationId: string;
  readonly listener: Listener;
  readonly signal: AbortSignal;
  /** What the model is for: nothing is brought to a node that has no memory for it. */
  readonly worker?: PlannedWorker | undefined;
}

/** A model that a node has now, and how it came there. */
export interface Supplied {
  /** `undefined` for a model that does not come from a hub and is not in the catalog: its hive finds or refuses it. */
  readonly model: Model | undefined;
  readonly source: 'catalog' | 'node' | 'hub';
  /** The node that gave it. */
  readonly from?: string;
}

export interface ModelSupplyOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly nodes: Nodes;
  readonly send: SendFiles;
}

/** One model on its way to one node. */
interface Delivery {
  readonly node: LiveNode;
  readonly modelRef: string;
  readonly ref: ModelRef;
  readonly correlationId: string;
  readonly worker: PlannedWorker | undefined;
  readonly crowd: Crowd;
  readonly abort: AbortController;
  readonly done: Promise<Supplied>;
  /** Those who need it; those who only listen do not count. */
  holders: number;
  /** What its node is doing for it now; `undefined` while it waits or looks. */
  work: 'copy' | 'hub' | undefined;
}

/**
 * Brings models of the hub to nodes: from another node that has them, else from the hub. Who needs the same model on the
 * same node shares one delivery, which is cancelled when the last of them has gone; of several nodes that need one model
 * one downloads it and the others copy it from there.
 */
export class ModelSupply {
  readonly #options: ModelSupplyOptions;
  readonly #deliveries = new Map<string, Delivery>();
  /** Every delivery that has not come to its end, those included that nobody needs any more. */
  readonly #running = new Set<Promise<unknown>>();
  /** Copies that are read from a node now, by its name. */
  readonly #copiesFrom = new Map<string, number>();

  constructor(options: ModelSupplyOptions) {
    this.#options = options;
  }

  /** Sees to it that a node has a model. Throws the coded error of whoever could not give or take it. */
  async provide(node: LiveNode, modelRef: string, request: SupplyRequest): Promise<Supplied> {
    const ref = parseModelRef(modelRef);
    if (!ref) return { model: undefined, source: 'catalog' };
    const model = node.findModel(ref);
    if (model || ref.provider !== 'hf') return { model, source: 'catalog' };
    request.signal.throwIfAborted();
    const { worker } = request;
    // Who only wants the model is not refused because there is no memory for a worker.
    const purpose = worker === undefined ? 'stored' : `${worker.backend}:${worker.device ?? 'any'}`;
    const key = `${node.name} ${modelKey(modelRef)} ${purpose}`;
    const running = this.#deliveries.get(key);
    if (running) {
      request.listener.narrate({
        actor: 'queen-rbee',
        action: 'model_download',
        target: modelRef,
        human: `waiting for ${modelRef}, which is on its way to ${node.name}`,
      });
    }
    const delivery = running ?? this.#begin(key, node, modelRef, ref, request);
    return this.#hold(key, delivery, request);
  }

  /** Ends every delivery. */
  async close(): Promise<void> {
    const reason = new RbeeError('CANCELLED', 'the queen is shutting down');
    for (const { abort } of this.#deliveries.values()) abort.abort(reason);
    await Promise.allSettled(this.#running);
  }

  #begin(key: string, node: LiveNode, modelRef: string, ref: ModelRef, request: SupplyRequest): Delivery {
    const { correlationId, worker } = request;
    const abort = new AbortController();
    const forget = () => {
      if (this.#deliveries.get(key) === delivery) this.#deliveries.delete(key);
      this.#running.delete(done);
    };
    // One turn later, so that the first member is there to hear the first word.
    const done = Promise.resolve()
      .then(() => this.#deliver(delivery))
      .catch((error: unknown) => {
        // The first reason counts: what fails after an abort fails because of it.
        throw abort.signal.aborted ? abort.signal.reason : error;
      })
      .finally(forget);
    const crowd = new Crowd();
    const what = { node, modelRef, ref, correlationId, worker };
    const delivery: Delivery = { ...what, crowd, abort, done, holders: 0, work: undefined };
    // Its failure reaches those who hold it.
    done.catch(() => undefined);
    this.#deliveries.set(key, delivery);
    this.#running.add(done);
    return delivery;
  }

  async #hold(key: string, delivery: Delivery, { listener, signal }: SupplyRequest): Promise<Supplied> {
    const leave = delivery.crowd.add(listener);
    delivery.holders++;
    try {
      return await orAborted(delivery.done, signal);
    } finally {
      leave();
      delivery.holders--;
      if (delivery.holders === 0) {
        // Whoever comes now begins anew and goes on with the bytes that are there.
        if (this.#deliveries.get(key) === delivery) this.#deliveries.delete(key);
        delivery.abort.abort(new RbeeError('CANCELLED', `nobody needs ${delivery.modelRef} any more`));
      }
    }
  }

  async #deliver(delivery: Delivery): Promise<Supplied> {
    const { node, ref, abort } = delivery;
    const failed = new Set<string>();
    let shared: Supplied | undefined;
    // A queen that was started a moment ago has not met every hive that runs.
    if (!node.findModel(ref)) await orAborted(this.#options.nodes.look(this.#options.nodes.all()), abort.signal);
    for (;;) {
      abort.signal.throwIfAborted();
      const model = node.findModel(ref);
      if (model) return { source: 'catalog', ...shared, model };
      const ahead = this.#findAhead(delivery);
      const giver = ahead?.node === node ? undefined : chooseGiver(this.#giversFor(delivery, failed));
      if (giver) {
        const supplied = await this.#copy(delivery, giver, failed);
        if (supplied) return supplied;
      } else if (ahead) {
        const supplied = await this.#waitFor(ahead, delivery);
        shared = ahead.node === node ? supplied : undefined;
      } else {
        return await this.#fetch(delivery);
      }
    }
  }

  /** Another delivery of what may be the same model that is to be waited for: on the same node, or from the hub to another one. */
  #findAhead(delivery: Delivery): Delivery | undefined {
    const others = [...this.#deliveries.values()].filter(
      (other) => other !== delivery && mayBeSameModel(other.modelRef, delivery.modelRef),
    );
    return (
      others.find(({ node, work }) => node === delivery.node && work !== undefined) ??
      others.find(({ node, work }) => node !== delivery.node && work === 'hub')
    );
  }

  #giversFor({ node, ref }: Delivery, failed: ReadonlySet<string>): (Giver & { node: LiveNode })[] {
    return this.#options.nodes.all().flatMap((other) => {
      const model = other.findModel(ref);
      if (other === node || !model || failed.has(other.name) || other.standing.hive !== 'running') return [];
      const busySlots = other.listWorkers().reduce((sum, each) => sum + each.slots_total - each.slots_available, 0);
      const copies = this.#copiesFrom.get(other.name) ?? 0;
      return [{ node: other, name: other.name, link: other.link.kind, model, copies, busySlots }];
    });
  }

  /** Hears how another delivery goes on, without needing it: resolves when that has ended, with nothing when it failed. */
  async #waitFor(ahead: Delivery, { node, modelRef, crowd, abort }: Delivery): Promise<Supplied | undefined> {
    const say = (human: string, level: 'info' | 'warn' = 'info') =>
      crowd.narrate({ actor: 'queen-rbee', action: 'model_download', target: modelRef, human, level });
    say(
      ahead.node === node
        ? `waiting for ${modelRef}, which is on its way to ${node.name}`
        : `${ahead.node.name} is downloading ${modelRef}: waiting to copy it`,
    );
    const leave = ahead.crowd.add({
      narrate: () => undefined,
      pass: (event) => {
        if (event.type === 'progress') crowd.pass(event);
      },
    });
    try {
      return await orAborted(ahead.done, abort.signal);
    } catch (error) {
      abort.signal.throwIfAborted();
      say(`${ahead.node.name} did not get it: ${(error as Error).message}`, 'warn');
      return undefined;
    } finally {
      leave();
    }
  }

  /** `undefined` when the copy failed in a way that another source may make good. */
  async #copy(
    delivery: Delivery,
    giver: Giver & { node: LiveNode },
    failed: Set<string>,
  ): Promise<Supplied | undefined> {
    const { clock, send } = this.#options;
    const { node, modelRef, crowd, abort } = delivery;
    const teller = new DownloadTeller({ clock, listener: crowd, modelRef, node: node.name, from: giver.name });
    delivery.work = 'copy';
    this.#countCopies(giver.name, 1);
    try {
      const outcome = await copyFromNode(giver.node, node, giver.model, { ...this.#contextOf(delivery, teller), send });
      const model = await this.#arrived(delivery);
      if (model && outcome !== 'catalog') teller.end(model);
      return outcome === 'copied' ? { model, source: 'node', from: giver.name } : { model, source: outcome };
    } catch (error) {
      if (abort.signal.aborted || node.standing.hive !== 'running' || !isAboutGiver(error)) throw error;
      failed.add(giver.name);
      crowd.narrate({
        actor: 'queen-rbee',
        action: 'model_download',
        target: modelRef,
        level: 'warn',
        human: `it cannot be copied from ${giver.name}: ${(error as Error).message.replace(`${giver.name}: `, '')}`,
      });
      return undefined;
    } finally {
      delivery.work = undefined;
      this.#countCopies(giver.name, -1);
    }
  }

  async #fetch(delivery: Delivery): Promise<Supplied> {
    const { clock } = this.#options;
    const { node, modelRef, crowd } = delivery;
    const teller = new DownloadTeller({ clock, listener: crowd, modelRef, node: node.name });
    crowd.narrate({
      actor: 'queen-rbee',
      action: 'model_download',
      target: modelRef,
      human: `${node.name} looks for ${modelRef} on the hub`,
    });
    // Without a pause in between, so that of several nodes exactly one comes to be the one that downloads.
    delivery.work = 'hub';
    try {
      const downloaded = await fetchFromHub(node, modelRef, this.#contextOf(delivery, teller));
      const model = await this.#arrived(delivery);
      if (model && downloaded) teller.end(model);
      return { model, source: downloaded ? 'hub' : 'catalog' };
    } finally {
      delivery.work = undefined;
    }
  }

  #contextOf({ correlationId, worker, abort, crowd }: Delivery, teller: DownloadTeller): SupplyContext {
    const { clock, variables, timeouts } = this.#options;
    const waits = Array.from({ length: ATTEMPTS }, (_, index) =>
      index === 0 ? 0 : timeouts.download_retry * 2 ** (index - 1),
    );
    const onEvent = teller.take.bind(teller);
    return { clock, variables, timeouts, waits, correlationId, worker, signal: abort.signal, listener: crowd, onEvent };
  }

  /** The hive's own event may still be on its way; what it answers is at least as new. */
  async #arrived({ node, ref, correlationId, abort }: Delivery): Promise<Model | undefined> {
    await node.refreshModels({ correlationId, signal: abort.signal });
    return node.findModel(ref);
  }

  #countCopies(name: string, change: 1 | -1): void {
    const count = (this.#copiesFrom.get(name) ?? 0) + change;
    if (count > 0) this.#copiesFrom.set(name, count);
    else this.#copiesFrom.delete(name);
  }
}

/** Whether a copy may have failed for want of the giver or the way from it, so that another source can help. */
function isAboutGiver(error: unknown): boolean {
  return (
    isRbeeError(error) &&
    // Who ended it at the node that gets it would not want it from elsewhere.
    error.details.cause !== 'CANCELLED' &&
    !/^(INSUFFICIENT_|VRAM_EXHAUSTED|DISK_FULL|CATALOG_UNAVAILABLE|CANCELLED|INVALID_API_KEY)/.test(error.code)
  );
}
