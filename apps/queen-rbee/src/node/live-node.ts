import {
  callJson,
  callStream,
  type IncomingStream,
  type Logger,
  type Narrate,
  orAborted,
  readEvent,
  type Spoken,
  type Target,
  type Timeouts,
  withTimeout,
} from '@rbee/daemon-kit';
import {
  type GlobalWorker,
  hiveEventSchema,
  hiveRoutes,
  isRbeeError,
  RbeeError,
  type Worker,
  type WorkerDetail,
} from '@rbee/protocol';
import type { Link } from '../link/link.js';
import type { NodeView, WorkerUsage } from '../placement/snapshot.js';
import { checkHiveVersion } from './check-version.js';
import { NodeState } from './node-state.js';

const FIRST_RECONNECT_MS = 100;
const LONGEST_RECONNECT_MS = 5_000;

export interface LiveNodeOptions {
  readonly link: Link;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  /** Told after every change of the node's workers. */
  readonly onChange: () => void;
}

/** How a call to the hive is labelled and ended. */
export interface HiveCall {
  readonly correlationId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What the queen knows of one node, kept up to date by the hive's event stream: `unknown` (never met) → `up` ⇄ `down`.
 * Once a hive was met, the stream is opened again by itself for as long as the queen runs. While the hive is down
 * nothing is known about the node.
 */
export class LiveNode {
  readonly #options: LiveNodeOptions;
  readonly #state: NodeState;
  readonly #closed = new AbortController();
  /** Those who wait for the hive and hear how its start goes on. */
  readonly #audience = new Set<Narrate>();
  #lastSaid: Spoken | undefined;
  #reachable: 'unknown' | 'up' | 'down' = 'unknown';
  /** Ends the newest connection to the event stream; each has its own, so that none leaves a listener behind. */
  #opening: AbortController | undefined;
  #stream: IncomingStream | undefined;
  #connecting: Promise<void> | undefined;
  #providing: Promise<void> | undefined;
  #cancelReconnect: (() => void) | undefined;
  #reconnectMs = FIRST_RECONNECT_MS;

  constructor(options: LiveNodeOptions) {
    this.#options = options;
    this.#state = new NodeState(options.link.hive.clock);
  }

  get name(): string {
    return this.link.node;
  }

  get link(): Link {
    return this.#options.link;
  }

  worker(id: string): Worker | undefined {
    return this.#state.worker(id);
  }

  /** The node for placement; the queen's own counts are added by their owner. */
  view(usage: (workerId: string) => WorkerUsage): Omit<NodeView, 'starting'> {
    return { name: this.name, hiveUp: this.#reachable === 'up', ...this.#state.view(usage) };
  }

  /** The workers as the queen lists them. */
  listWorkers(): GlobalWorker[] {
    return this.#state.listWorkers(this.name, this.link.hive.transport.peer.url);
  }

  /** Makes sure that a hive answers, starting one where the link can, and that its events flow. Callers share one attempt. */
  async provideHive(narrate: Narrate, signal: AbortSignal): Promise<void> {
    if (this.#stream) return;
    if (this.#lastSaid) narrate(this.#lastSaid);
    this.#audience.add(narrate);
    this.#providing ??= this.#provide().finally(() => {
      this.#providing = undefined;
      this.#lastSaid = undefined;
    });
    await orAborted(this.#providing, signal).finally(() => this.#audience.delete(narrate));
  }

  /** Opens the event stream of a hive that runs and waits for its snapshot. Throws when none answers. */
  connect(): Promise<void> {
    if (this.#stream) return Promise.resolve();
    this.#cancelReconnect?.();
    this.#connecting ??= this.#open()
      .catch((error: unknown) => {
        if (this.#reachable === 'down') this.#reconnectLater();
        throw error;
      })
      .finally(() => {
        this.#connecting = undefined;
      });
    return this.#connecting;
  }

  /** Reads health, workers, backends, worker builds and resources anew. Throws VERSION_MISMATCH and what the calls throw. */
  async preflight(call: HiveCall): Promise<{ version: string; workers: number; builds: number }> {
    const { hive } = this.link;
    const options = { ...call, timeoutMs: this.#options.timeouts.call };
    const [health, { workers }, { backends }, { binaries }, resources] = await Promise.all([
      callJson(hive, hiveRoutes.health, options),
      callJson(hive, hiveRoutes.listWorkers, options),
      callJson(hive, hiveRoutes.listBackends, options),
      callJson(hive, hiveRoutes.listWorkerBinaries, options),
      callJson(hive, hiveRoutes.resources, options),
    ]);
    checkHiveVersion(this.name, health.version);
    this.#state.backends = backends;
    this.#state.resources = resources;
    for (const worker of workers) this.#state.keepWorker(worker);
    this.#options.onChange();
    return { version: health.version, workers: workers.length, builds: binaries.length };
  }

  /** Asks the hive for one worker. Throws WORKER_NOT_FOUND when the hive no longer has it. */
  async refreshWorker(id: string, call: HiveCall & { timeoutMs?: number }): Promise<WorkerDetail> {
    const { timeouts } = this.#options;
    const detail = await callJson(this.link.hive, hiveRoutes.getWorker, {
      timeoutMs: timeouts.call,
      ...call,
      params: { worker_id: id },
    });
    const { api_key, last_error: _error, ...worker } = detail;
    this.#state.keepKey(id, api_key);
    this.#state.keepWorker(worker);
    this.#options.onChange();
    return detail;
  }

  /** Remembers the key that jobs for a worker need. */
  noteKey(id: string, key: string): void {
    this.#state.keepKey(id, key);
  }

  /** The way to a worker, with its key. */
  async reachWorker(id: string, call: HiveCall): Promise<Target> {
    if (!this.#state.knowsKey(id)) await this.refreshWorker(id, call);
    const worker = this.#state.worker(id);
    if (!worker) throw new RbeeError('WORKER_NOT_FOUND', `worker ${id} has gone`, { details: { worker_id: id } });
    return { ...this.link.workerAt(worker.url), key: this.#state.key(id) };
  }

  /** Forgets a worker that turned out to be gone, ahead of the hive's own event. */
  forgetWorker(id: string): void {
    if (this.#state.forgetWorker(id)) this.#options.onChange();
  }

  /** Forgets a hive that no longer answers, so that the next task looks for it anew. */
  forgetHive(): void {
    this.#stream?.close();
    this.#stream = undefined;
    this.#lose('it does not answer');
  }

  /** Ends the stream and the attempts to open it. */
  close(): void {
    const reason = new RbeeError('CANCELLED', 'the queen is shutting down');
    this.#closed.abort(reason);
    this.#opening?.abort(reason);
    this.#cancelReconnect?.();
    this.#stream?.close();
    this.#stream = undefined;
  }

  async #provide(): Promise<void> {
    const found = await this.link.findHive(this.#closed.signal);
    const tellAll: Narrate = (spoken) => {
      this.#lastSaid = spoken;
      for (const narrate of this.#audience) narrate(spoken);
    };
    const health = found ?? (await this.link.startHive(tellAll));
    checkHiveVersion(this.name, health.version);
    await this.connect();
  }

  async #open(): Promise<void> {
    const { link, timeouts, log } = this.#options;
    this.#closed.signal.throwIfAborted();
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    const stream = await callStream(link.hive, hiveRoutes.events, { signal, timeoutMs: timeouts.call });
    try {
      const first = await withTimeout(link.hive.clock, timeouts.call, stream.messages.next(), () =>
        this.#toSnapshotError(`sent nothing within ${timeouts.call} ms`),
      );
      const snapshot = first.done ? undefined : readEvent(hiveEventSchema, first.value);
      if (snapshot?.type !== 'snapshot') throw this.#toSnapshotError('did not start with a snapshot');
      checkHiveVersion(this.name, snapshot.version);
      this.#state.replace(snapshot);
    } catch (error) {
      stream.close();
      throw error;
    }
    this.#stream = stream;
    this.#reconnectMs = FIRST_RECONNECT_MS;
    this.#setReachable('up', `${this.#state.workerCount} workers`);
    this.#options.onChange();
    this.#follow(stream).catch((error: unknown) =>
      log.error({ error, node: this.name }, 'an event of a hive was not taken'),
    );
  }

  #toSnapshotError(what: string): RbeeError {
    return new RbeeError('INVALID_RESPONSE', `the event stream of the hive of ${this.name} ${what}`, {
      details: { service: 'rbee-hive', node: this.name },
      suggestion: 'check that the program behind this address is rbee-hive, and restart it',
    });
  }

  async #follow(stream: IncomingStream): Promise<void> {
    let reason = 'its event stream broke off';
    try {
      for await (const message of stream.messages) {
        const event = readEvent(hiveEventSchema, message);
        if (event?.type === 'end') reason = `it has shut down (${event.reason})`;
        else if (event?.type === 'worker') this.#takeWorker(event.change, event.worker);
        else if (event?.type === 'model') this.#takeModel(event);
        else if (!event) this.#options.log.debug({ node: this.name, event: message.event }, 'skipped an unknown event');
      }
    } catch (error) {
      if (!isRbeeError(error)) throw error;
    } finally {
      if (this.#stream === stream) {
        this.#stream = undefined;
        this.#lose(reason);
      }
    }
  }

  #takeWorker(change: 'added' | 'changed' | 'removed', worker: Worker): void {
    if (change === 'removed') {
      this.forgetWorker(worker.worker_id);
      return;
    }
    this.#state.keepWorker(worker);
    this.#options.onChange();
  }

  #takeModel({ change, model }: { change: string; model: Parameters<NodeState['keepModel']>[0] }): void {
    if (change === 'removed') this.#state.forgetModel(model.id);
    else this.#state.keepModel(model);
  }

  #lose(reason: string): void {
    this.#state.clear();
    this.#setReachable('down', reason);
    this.#options.onChange();
    this.#reconnectLater();
  }

  #reconnectLater(): void {
    const { log, link } = this.#options;
    if (this.#closed.signal.aborted) return;
    const waitMs = this.#reconnectMs;
    this.#reconnectMs = Math.min(waitMs * 2, LONGEST_RECONNECT_MS);
    this.#cancelReconnect?.();
    this.#cancelReconnect = link.hive.clock.after(waitMs, () => {
      this.connect().catch((error: Error) =>
        log.debug({ node: this.name, reason: error.message }, 'the hive does not answer yet'),
      );
    });
  }

  #setReachable(state: 'up' | 'down', reason: string): void {
    if (state === this.#reachable) return;
    const { log } = this.#options;
    log.info({ node: this.name, from: this.#reachable, to: state }, `node ${this.name} is ${state}: ${reason}`);
    this.#reachable = state;
  }
}
