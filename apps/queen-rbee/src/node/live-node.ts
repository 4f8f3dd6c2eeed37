import {
  callJson,
  type IncomingStream,
  type Logger,
  type Narrate,
  orAborted,
  readEvent,
  type Spoken,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import {
  type BackendStatus,
  findModel,
  type GlobalWorker,
  type HiveStatus,
  hiveEventSchema,
  hiveRoutes,
  isRbeeError,
  type JsonOf,
  type Model,
  type ModelRef,
  RbeeError,
  type Resources,
  type Worker,
  type WorkerChange,
  type WorkerDetail,
} from '@rbee/protocol';
import { connectHive } from '../link/connect-hive.js';
import type { Link } from '../link/link.js';
import type { NodeView, WorkerUsage } from '../placement/snapshot.js';
import { checkHiveVersion } from './check-version.js';
import { NodeState } from './node-state.js';
import { openHiveEvents } from './open-hive-events.js';
import { judgeFailure, type NodeStanding, Standing } from './standing.js';

const FIRST_RECONNECT_MS = 100;
const LONGEST_RECONNECT_MS = 5_000;

export interface LiveNodeOptions {
  readonly link: Link;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Told after every change of the node's workers. */
  readonly onChange: () => void;
  /** Told after every change of how things stand with the node. */
  readonly onStanding?: (standing: NodeStanding) => void;
  /** Told which backends the node has, each time its hive says so. */
  readonly onBackends?: (backends: readonly BackendStatus[]) => void;
  /** What is known of the node's backends while no hive tells. */
  readonly knownBackends?: readonly BackendStatus[];
}

/** How a call to the hive is labelled and ended. */
export interface HiveCall {
  readonly correlationId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was found when a hive was looked at. */
export interface HivePreflight {
  readonly version: string;
  /** How many workers it has, and builds of the worker program. */
  readonly workers: number;
  readonly builds: number;
  readonly backends: readonly BackendStatus[];
  readonly resources: Resources;
}

/**
 * What the queen knows of one node, kept up to date by the hive's event stream. Once a hive was met, or the node is
 * watched, the stream is opened again by itself for as long as the queen runs. While the hive is away nothing is known
 * about its workers and models.
 */
export class LiveNode {
  readonly #options: LiveNodeOptions;
  readonly #state: NodeState;
  readonly #standing: Standing;
  readonly #closed = new AbortController();
  readonly #stopListening: () => void;
  /** Those who wait for the hive and hear how its start goes on. */
  readonly #audience = new Set<Narrate>();
  #lastSaid: Spoken | undefined;
  /** Those who wait for a change of the workers. */
  readonly #awaiting = new Set<() => void>();
  /** Whether to look for the hive again after a failure, although nobody asks for it. */
  #watching = false;
  /** What is known of the node's backends while no hive tells. */
  #knownBackends: readonly BackendStatus[];
  #pid: number | undefined;
  #version: string | undefined;
  /** Ends the newest connection to the event stream; each has its own, so that none leaves a listener behind. */
  #opening: AbortController | undefined;
  #stream: IncomingStream | undefined;
  #connecting: Promise<void> | undefined;
  #providing: Promise<void> | undefined;
  #cancelReconnect: (() => void) | undefined;
  #reconnectMs = FIRST_RECONNECT_MS;

  constructor(options: LiveNodeOptions) {
    const onChange = () => {
      options.onChange();
      for (const wake of [...this.#awaiting]) wake();
    };
    this.#options = { ...options, onChange };
    const { link, log, onStanding } = options;
    this.#state = new NodeState(link.hive.clock);
    this.#knownBackends = options.knownBackends ?? [];
    const first = {
      status: link.kind === 'local' ? 'reachable' : 'unknown',
      hive: 'unknown',
      reason: undefined,
    } as const;
    this.#standing = new Standing({ node: link.node, log, onChange: (now) => onStanding?.(now) }, first);
    this.#stopListening = link.onLost((reason) => this.#loseMachine(reason));
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

  /** Resolves at the next change of the node's workers. Rejects with the signal's reason. */
  async changed(signal: AbortSignal): Promise<void> {
    let wake: () => void = () => undefined;
    const change = new Promise<void>((resolve) => {
      wake = resolve;
    });
    this.#awaiting.add(wake);
    try {
      await orAborted(change, signal);
    } finally {
      this.#awaiting.delete(wake);
    }
  }

  /** The node's catalog, as far as its hive has told. */
  get models(): Model[] {
    return this.#state.models;
  }

  /** The model that a reference means here; `undefined` when the node does not have it. */
  findModel(ref: ModelRef): Model | undefined {
    return findModel(this.#state.models, ref);
  }

  get standing(): NodeStanding {
    return this.#standing.now;
  }

  /** The node for placement; the queen's own counts are added by their owner. */
  view(usage: (workerId: string) => WorkerUsage): Omit<NodeView, 'starting'> {
    const { link } = this.#options;
    const { status, hive, reason } = this.standing;
    const seen = this.#state.view(usage);
    const backends = seen.backends.length > 0 ? seen.backends : this.#knownBackends;
    const away = status === 'unreachable' || (hive === 'unknown' && reason !== undefined);
    const startable = link.kind !== 'direct' || hive === 'running';
    const trouble = away || !startable ? (reason ?? 'its hive was not met yet') : undefined;
    return { name: this.name, link: link.kind, hiveUp: hive === 'running', trouble, ...seen, backends };
  }

  /** The workers as the queen lists them. */
  listWorkers(): GlobalWorker[] {
    return this.#state.listWorkers(this.name, this.link.hive.transport.peer.url);
  }

  /** The hive as the queen lists it. */
  get status(): HiveStatus {
    const { link } = this.#options;
    const { status, hive, reason } = this.standing;
    const resources = this.#state.resources;
    return {
      node: this.name,
      link: link.kind,
      status,
      hive,
      reason,
      version: hive === 'running' ? this.#version : undefined,
      pid: this.#pid,
      owned: link.ownsHive,
      url: link.hive.transport.peer.url,
      workers: this.#state.workerCount,
      models: this.#state.modelCount,
      ram_total_mb: resources && Math.round(resources.ram_total_gb * 1024),
      ram_available_mb: resources?.ram_available_mb,
      gpus: resources?.gpus ?? [],
      warnings: this.warnings.length > 0 ? [...this.warnings] : undefined,
    };
  }

  /** What the hive wants its user to know. */
  get warnings(): readonly string[] {
    return this.#state.warnings;
  }

  /** Takes note of what somebody else than a hive has found out about the node. */
  learnBackends(backends: readonly BackendStatus[]): void {
    this.#knownBackends = backends;
  }

  /** Looks for the node's hive from now on, also when nobody asks for it. Starts none. */
  watch(): void {
    this.#watching = true;
    this.connect().catch((error: Error) =>
      this.#options.log.debug({ node: this.name, reason: error.message }, 'no hive answers yet'),
    );
  }

  /** Makes sure that a hive answers, starting one where the link can, and that its events flow. Callers share one attempt. */
  async provideHive(narrate: Narrate, signal: AbortSignal): Promise<void> {
    if (this.#stream) return;
    if (this.#lastSaid) narrate(this.#lastSaid);
    this.#audience.add(narrate);
    this.#providing ??= this.#provide()
      .catch((error: unknown) => {
        this.#note(error);
        throw error;
      })
      .finally(() => {
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
        this.#note(error);
        if (this.#watching) this.#reconnectLater();
        throw error;
      })
      .finally(() => {
        this.#connecting = undefined;
      });
    return this.#connecting;
  }

  /** Reads health, workers, backends, worker builds and resources anew. Throws VERSION_MISMATCH and what the calls throw. */
  async preflight(call: HiveCall): Promise<HivePreflight> {
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
    for (const worker of workers) this.#state.learnWorker(worker);
    this.#options.onChange();
    return { version: health.version, workers: workers.length, builds: binaries.length, backends, resources };
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
    // One that has failed is told about for a while, and is in no list any more.
    if (worker.state === 'failed') this.#state.forgetWorker(id);
    else {
      this.#state.keepKey(id, api_key);
      this.#state.learnWorker(worker);
    }
    this.#options.onChange();
    return detail;
  }

  /** Reads the catalog anew, and what is on its way into it. */
  async refreshModels({ correlationId, signal }: HiveCall): Promise<JsonOf<typeof hiveRoutes.listModels>> {
    const timeoutMs = this.#options.timeouts.call;
    const answer = await callJson(this.link.hive, hiveRoutes.listModels, { correlationId, signal, timeoutMs });
    this.#state.replaceModels(answer.models);
    return answer;
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

  /** Takes what somebody else than the hive's stream tells of a worker; false when it is not known here. */
  noteWorker(id: string, change: WorkerChange): boolean {
    const known = this.#state.noteWorker(id, change);
    if (known) this.#options.onChange();
    return known;
  }

  /** Ids of the workers that take jobs and of which nothing was heard since a moment, in milliseconds since the epoch. */
  silentSince(moment: number): string[] {
    return this.#state.silentSince(moment);
  }

  /** Gives no new jobs to a worker that does not answer. */
  markStale(id: string): void {
    this.#state.markStale(id);
    this.#options.onChange();
  }

  /** Forgets a worker that turned out to be gone, ahead of the hive's own event. */
  forgetWorker(id: string): void {
    if (this.#state.forgetWorker(id)) this.#options.onChange();
  }

  /** Forgets a hive that no longer answers, so that the next task looks for it anew. */
  forgetHive(): void {
    this.#stream?.close();
    this.#stream = undefined;
    this.#loseHive({ ...this.standing, hive: 'stopped', reason: 'it does not answer' });
  }

  /** Ends the hive if this queen started it; resolves with whether it did. */
  stopHive(narrate: Narrate): Promise<boolean> {
    return this.link.stopHive(narrate);
  }

  /** Ends the stream and the attempts to open it; the link stays open. */
  close(): void {
    this.#stopListening();
    const reason = new RbeeError('CANCELLED', 'the queen is shutting down');
    this.#closed.abort(reason);
    this.#opening?.abort(reason);
    this.#cancelReconnect?.();
    this.#stream?.close();
    this.#stream = undefined;
  }

  async #provide(): Promise<void> {
    const { link, timeouts, variables } = this.#options;
    const { signal } = this.#closed;
    const tellAll: Narrate = (spoken) => {
      this.#lastSaid = spoken;
      for (const narrate of this.#audience) narrate(spoken);
    };
    const found = await connectHive(link, tellAll, { clock: link.hive.clock, timeouts, variables, signal });
    const health = found ?? (await link.startHive(tellAll));
    checkHiveVersion(this.name, health.version);
    await this.connect();
  }

  async #open(): Promise<void> {
    const { link, timeouts, log } = this.#options;
    this.#closed.signal.throwIfAborted();
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    const { stream, snapshot } = await openHiveEvents(link, timeouts, signal);
    this.#state.replace(snapshot);
    this.#version = snapshot.version;
    this.#pid = snapshot.pid;
    this.#stream = stream;
    this.#watching = true;
    this.#reconnectMs = FIRST_RECONNECT_MS;
    this.#standing.set({ status: 'reachable', hive: 'running', reason: undefined });
    this.#options.onBackends?.(this.#state.backends);
    this.#options.onChange();
    this.#follow(stream).catch((error: unknown) =>
      log.error({ error, node: this.name }, 'an event of a hive was not taken'),
    );
  }

  async #follow(stream: IncomingStream): Promise<void> {
    // Nobody else notices that the machine behind such a link is gone.
    const isOnlySign = this.link.kind === 'direct';
    let lost: Partial<NodeStanding> & Omit<NodeStanding, 'status'> = {
      hive: 'stopped',
      reason: 'its event stream broke off',
    };
    try {
      for await (const message of stream.messages) {
        const event = readEvent(hiveEventSchema, message);
        if (event?.type === 'end') lost = { hive: 'stopped', reason: `it has shut down (${event.reason})` };
        else if (event?.type === 'worker') this.#takeWorker(event.change, event.worker);
        else if (event?.type === 'model') this.#takeModel(event);
        else if (event?.type === 'resources') this.#state.resources = event.resources;
        else if (event?.type === 'warning') this.#state.warn(event.text);
        else if (!event) this.#options.log.debug({ node: this.name, event: message.event }, 'skipped an unknown event');
      }
    } catch (error) {
      if (!isRbeeError(error)) throw error;
      if (error.details.silence_ms !== undefined) {
        const status = isOnlySign ? 'unreachable' : this.standing.status;
        lost = { status, hive: 'unknown', reason: 'its hive does not answer' };
      }
    } finally {
      if (this.#stream === stream) {
        this.#stream = undefined;
        this.#loseHive({ ...this.standing, ...lost });
        // Streams on it must not be waited for.
        if (lost.hive === 'unknown' && isOnlySign) this.link.reset();
      }
    }
  }

  #takeWorker(change: 'added' | 'changed' | 'removed', worker: Worker): void {
    if (change !== 'removed') this.#state.keepWorker(worker);
    else if (!this.#state.removeWorker(worker.worker_id)) return;
    this.#options.onChange();
  }

  #takeModel({ change, model }: { change: string; model: Model }): void {
    if (change === 'removed') this.#state.forgetModel(model.id);
    else this.#state.keepModel(model);
  }

  /** The way to the machine broke, and every stream on it with it. */
  #loseMachine(reason: RbeeError): void {
    // What an attempt under way says now is about the connection that has gone, not about the hive.
    this.#opening?.abort(reason);
    this.#stream?.close();
    this.#stream = undefined;
    this.#loseHive({ status: 'unreachable', hive: 'unknown', reason: reason.message });
  }

  #loseHive(standing: NodeStanding): void {
    this.#state.clear();
    this.#pid = undefined;
    this.#standing.set(standing);
    this.#options.onChange();
    if (this.#watching) this.#reconnectLater();
  }

  #note(error: unknown): void {
    const standing = judgeFailure(this.link.kind, error);
    if (standing) this.#standing.set(standing);
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
}
