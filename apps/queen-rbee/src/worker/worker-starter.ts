import {
  type Clock,
  callJson,
  callStream,
  formatDuration,
  type Logger,
  readEvent,
  sleep,
  type Timeouts,
} from '@rbee/daemon-kit';
import {
  type BackendStatus,
  fromErrorEvent,
  hiveRoutes,
  isRbeeError,
  type ProgressEvent,
  RbeeError,
  type SpawnRequest,
  toErrorCode,
  toRbeeError,
  workerRoutes,
  workerStartEventSchema,
} from '@rbee/protocol';
import type { ModelSupply, Supplied } from '../models/model-supply.js';
import { isHiveLost } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';
import { placeTask } from '../placement/place-task.js';
import type { Wanted } from '../placement/snapshot.js';
import type { Listener } from './crowd.js';
import { underDeadline } from './under-deadline.js';
import { hasRoomLater, untilRoomMayBe } from './until-room-may-be.js';

/** With less than 8 GB of memory or 50 GB of disk few models fit. */
const COMFORTABLE_RAM_MB = 8 * 1024;
const COMFORTABLE_DISK_MB = 50 * 1024;

const NO_USAGE = () => ({ inFlight: 0, lastEndedMs: undefined });

export interface StartContext {
  readonly correlationId: string;
  readonly listener: Listener;
  /** Told as soon as it is known which worker it will be. */
  readonly onWorker: (workerId: string) => void;
  /** Runs work of which nothing is left to use: its signal is aborted when nobody waits for the start any more. */
  readonly whileWanted: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
}

/** What a worker that is started ahead of any task gets besides; it is one more, whatever runs already. */
export type Ahead = Pick<SpawnRequest, 'slots_total' | 'context_size' | 'pinned'>;

export interface WorkerStarterOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly supply: ModelSupply;
  /** Whether a start waits for room on a full node, rather than that it fails and is tried on another one. */
  readonly mayWaitForRoom: (node: LiveNode, wanted: Wanted) => boolean;
  /** Aborted when the queen shuts down. */
  readonly signal: AbortSignal;
}

/** Starts one worker on a node and follows it until it takes jobs. */
export class WorkerStarter {
  readonly #options: WorkerStarterOptions;

  constructor(options: WorkerStarterOptions) {
    this.#options = options;
  }

  /**
   * Preflight of the hive, the model's way to it, spawn, loading, confirmation. Where there is no room beside workers that are in use, it
   * waits for one to come to rest, for `slot_wait` at most. A worker whose process is killed on the way is started once more. Resolves
   * with the worker's id; throws the coded error of whoever refused.
   */
  async start(node: LiveNode, wanted: Wanted, context: StartContext, ahead?: Ahead): Promise<string> {
    const { clock, timeouts } = this.#options;
    let giveUpAt: number | undefined;
    let killed: string | undefined;
    try {
      const backends = await this.#preflight(node, context);
      for (;;) {
        try {
          return await this.#tryToStart(node, without(wanted, killed), backends, context, ahead);
        } catch (error) {
          if (killed === undefined && wasKilled(error)) {
            killed = String(error.details.worker_id);
            sayThatItStartsAgain(node, context, error);
            continue;
          }
          const mayWait = hasRoomLater(error) && this.#options.mayWaitForRoom(node, wanted);
          if (giveUpAt === undefined && mayWait) sayThatItWaits(node, context, error as RbeeError);
          giveUpAt ??= clock.monotonic() + timeouts.slot_wait;
          if (!mayWait || clock.monotonic() >= giveUpAt) throw error;
          await this.#untilRoomMayBe(node, context);
        }
      }
    } catch (error) {
      const { error_code, message } = { error_code: toRbeeError(error).code, message: (error as Error).message };
      this.#options.log.warn(
        { error_code, node: node.name, correlation_id: context.correlationId },
        `no worker was started: ${message}`,
      );
      throw error;
    }
  }

  async #tryToStart(
    node: LiveNode,
    wanted: Wanted,
    backends: readonly BackendStatus[],
    context: StartContext,
    ahead: Ahead | undefined,
  ): Promise<string> {
    const findPresent = ahead ? () => undefined : findPresentWorker;
    let present = findPresent(node, wanted);
    // A hive refuses a backend or device that it does not have before anything is fetched, and says it best itself.
    if (!present && hasDevice(backends, wanted)) {
      const { source } = await this.#provideModel(node, wanted, context);
      // The catalog may tell only now that a worker runs the same model under another name.
      if (source !== 'catalog') present = findPresent(node, wanted);
    }
    if (present) context.onWorker(present.worker);
    if (present?.action === 'follow') await this.follow(node, present.worker, context);
    if (present) return present.worker;
    return await this.#spawn(node, wanted, context, ahead);
  }

  async #untilRoomMayBe(node: LiveNode, context: StartContext): Promise<void> {
    const { clock, signal } = this.#options;
    await context.whileWanted((unwanted) => untilRoomMayBe(node, clock, AbortSignal.any([unwanted, signal])));
  }

  /** As `follow`; a worker whose process is killed on the way is replaced by another one. Resolves with the id of the one that takes jobs. */
  async followOrReplace(node: LiveNode, workerId: string, wanted: Wanted, context: StartContext): Promise<string> {
    try {
      await this.follow(node, workerId, context);
      return workerId;
    } catch (error) {
      if (!wasKilled(error)) throw error;
      sayThatItStartsAgain(node, context, error);
      const { backends } = node.view(NO_USAGE);
      return await this.#tryToStart(node, without(wanted, workerId), backends, context, undefined);
    }
  }

  /** Follows a worker that is loading until it takes jobs. Throws what its start failed with, or LOADING_TIMEOUT. */
  async follow(node: LiveNode, workerId: string, context: StartContext): Promise<void> {
    try {
      await underDeadline(context.listener, (deadline) => this.#followEvents(node, workerId, context, deadline));
      await this.#confirmReady(node, workerId, context);
      // The hive's event may still be on its way; its answer is at least as new.
      await node.refreshWorker(workerId, { correlationId: context.correlationId, signal: this.#options.signal });
    } catch (error) {
      forgetLostHive(node, error);
      throw error;
    }
  }

  /** Brings the model to the node; what has not come when nobody waits for it any more is left where it is. */
  async #provideModel(node: LiveNode, wanted: Wanted, context: StartContext): Promise<Supplied> {
    const { model, backend, device } = wanted;
    const { correlationId, listener } = context;
    const worker = { backend, device };
    try {
      return await context.whileWanted((unwanted) => {
        const signal = AbortSignal.any([unwanted, this.#options.signal]);
        return this.#options.supply.provide(node, model, { correlationId, listener, signal, worker });
      });
    } catch (error) {
      forgetLostHive(node, error);
      throw error;
    }
  }

  async #preflight(node: LiveNode, context: StartContext): Promise<readonly BackendStatus[]> {
    const { listener, correlationId } = context;
    const { signal } = this.#options;
    try {
      const { version, workers, builds, backends, resources } = await node.preflight({ correlationId, signal });
      const say = (human: string, level: 'info' | 'warn' = 'info') =>
        listener.narrate({ actor: 'queen-rbee', action: 'hive_preflight', target: node.name, human, level });
      say(`checked the hive of ${node.name}: version ${version}, workers: ${workers}, worker builds: ${builds}`);
      const present = backends.filter(({ available }) => available);
      for (const warning of node.warnings) say(warning, 'warn');
      say(`it has ${present.map(({ name, devices }) => `${name} (${counted(devices, 'device')})`).join(', ')}`);
      const { ram_available_mb: ram, disk_available_mb: disk } = resources;
      const isTight = ram < COMFORTABLE_RAM_MB || disk < COMFORTABLE_DISK_MB;
      // What a model really needs is checked by the hive; this is only a first word.
      say(
        `${ram} MB of memory and ${disk} MB of disk are free there${isTight ? ', which is little' : ''}`,
        isTight ? 'warn' : 'info',
      );
      return backends;
    } catch (error) {
      // What was believed to run has gone: forget it, so that the task is placed anew.
      if (isRbeeError(error) && error.code === 'CONNECTION_TIMEOUT') node.forgetHive();
      throw error;
    }
  }

  async #spawn(node: LiveNode, wanted: Wanted, context: StartContext, ahead: Ahead | undefined): Promise<string> {
    const { listener, correlationId } = context;
    const { clock, timeouts, signal } = this.#options;
    const startedAt = clock.monotonic();
    const device = wanted.device === undefined ? '' : `:${wanted.device}`;
    const say = (human: string, more: { worker_id?: string; duration_ms?: number } = {}) =>
      listener.narrate({
        actor: 'queen-rbee',
        action: 'worker_spawn',
        target: node.name,
        human,
        device: `${wanted.backend}${device}`,
        ...more,
      });
    say(`starting a worker on ${node.name} (${wanted.backend}${device})`);
    const answer = await callJson(node.link.hive, hiveRoutes.spawnWorker, {
      body: {
        model: wanted.model,
        backend: wanted.backend,
        ...(wanted.device === undefined ? {} : { device: wanted.device }),
        ...(ahead ?? { or_replacement: true }),
      },
      correlationId,
      deadline: listener.deadline,
      signal,
      timeoutMs: timeouts.spawn_answer,
    }).catch((error: unknown) => {
      throw toSpawnError(error, node);
    });
    const { worker_id } = answer;
    context.onWorker(worker_id);
    if (answer.api_key !== undefined) node.noteKey(worker_id, answer.api_key);
    await this.follow(node, worker_id, context);
    const duration_ms = Math.round(clock.monotonic() - startedAt);
    say(`worker started on ${node.name} in ${formatDuration(duration_ms)}`, { worker_id, duration_ms });
    return worker_id;
  }

  async #followEvents(
    node: LiveNode,
    workerId: string,
    { listener, correlationId }: StartContext,
    deadline: number | undefined,
  ): Promise<void> {
    const { clock, timeouts, log } = this.#options;
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, this.#options.signal]);
    let progress: ProgressEvent | undefined;
    // The hive has the same limit and the better error: it gets the chance to say it first.
    const limitMs = timeouts.model_load + timeouts.ready_poll;
    const giveUp = () => abort.abort(toLoadingError(node, workerId, timeouts.model_load, progress));
    let cancelTimer = clock.after(limitMs, giveUp);
    try {
      const stream = await callStream(node.link.hive, hiveRoutes.workerEvents, {
        params: { worker_id: workerId },
        correlationId,
        deadline,
        signal,
        timeoutMs: timeouts.call,
      });
      for await (const message of stream.messages) {
        const event = readEvent(workerStartEventSchema, message);
        if (event?.type === 'end') return;
        if (event?.type === 'error') throw fromErrorEvent(event);
        if (!event) log.debug({ node: node.name, event: message.event }, 'skipped an unknown event of a worker start');
        else listener.pass(event);
        if (event?.type !== 'progress') continue;
        progress = event;
        if (event.phase !== 'download') continue;
        // A download has limits of its own; the time for loading begins after it.
        cancelTimer();
        cancelTimer = clock.after(limitMs, giveUp);
      }
    } finally {
      cancelTimer();
    }
  }

  async #confirmReady(node: LiveNode, workerId: string, { correlationId }: StartContext): Promise<void> {
    const { clock, timeouts, signal } = this.#options;
    const end = clock.monotonic() + timeouts.model_load;
    if (!node.worker(workerId)) await node.refreshWorker(workerId, { correlationId, signal });
    const target = await node.reachWorker(workerId, { correlationId, signal });
    for (;;) {
      const status = await callJson(target, workerRoutes.ready, {
        correlationId,
        signal,
        timeoutMs: timeouts.health_call,
      });
      if (status.ready) return;
      if (status.state === 'draining') throw toDrainingError(workerId);
      if (status.state === 'error') {
        const { code, message, details } = status.error ?? {
          code: 'WORKER_STARTUP_FAILED',
          message: 'it gives no reason',
        };
        throw new RbeeError(toErrorCode(code) ?? 'WORKER_STARTUP_FAILED', `worker ${workerId} failed: ${message}`, {
          details: { ...details, worker_id: workerId, node: node.name },
          suggestion: `look at the worker's log: rbee-keeper logs --node ${node.name}`,
        });
      }
      if (clock.monotonic() >= end) throw toLoadingError(node, workerId, timeouts.model_load, undefined);
      await sleep(clock, timeouts.ready_poll, signal);
    }
  }
}

function sayThatItWaits(node: LiveNode, { listener }: StartContext, { message }: RbeeError): void {
  listener.narrate({
    actor: 'queen-rbee',
    action: 'room_wait',
    target: node.name,
    human: `waiting for room on ${node.name}: ${message}`,
  });
}

function sayThatItStartsAgain(node: LiveNode, { listener }: StartContext, { message }: RbeeError): void {
  listener.narrate({
    actor: 'queen-rbee',
    action: 'worker_spawn',
    target: node.name,
    level: 'warn',
    human: `starting another worker on ${node.name}: ${message}`,
  });
}

/**
 * Whether the process of a worker was ended from outside while it started, by nobody of us: that may well go better another time. One
 * that ended with an exit code has failed, and one that the system killed for want of memory would be killed again.
 */
function wasKilled(error: unknown): error is RbeeError {
  if (!isRbeeError(error) || error.code !== 'WORKER_STARTUP_FAILED') return false;
  // How a process ended whose parent has gone, nobody knows: then there is no exit code either.
  const { phase, exit_code } = error.details;
  return (phase === 'starting' || phase === 'loading') && exit_code === null;
}

/** The node's own word of a worker's end may still be on its way. */
function without(wanted: Wanted, workerId: string | undefined): Wanted {
  return workerId === undefined ? wanted : { ...wanted, excluded: new Set([...(wanted.excluded ?? []), workerId]) };
}

function hasDevice(backends: readonly BackendStatus[], { backend, device }: Wanted): boolean {
  return backends.some(({ name, available, devices }) => name === backend && available && (device ?? 0) < devices);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** A worker that came up since the task was placed, so that none has to be started. */
function findPresentWorker(node: LiveNode, wanted: Wanted) {
  const view = { ...node.view(NO_USAGE), starting: [] };
  const placement = placeTask({ ...wanted, node: node.name }, [view]);
  if (placement.action === 'use' || placement.action === 'follow') return placement;
  const [first] = placement.action === 'wait' ? placement.workers : [];
  return first && { action: 'wait' as const, worker: first.id };
}

/** Its end must not be met a second time, by the next attempt, before the node's own stream has told of it. */
function forgetLostHive(node: LiveNode, error: unknown): void {
  if (!isHiveLost(error)) return;
  const isOther = error.details.node !== undefined && error.details.node !== node.name;
  if (!isOther) node.forgetHive();
}

function toSpawnError(error: unknown, node: LiveNode): unknown {
  if (!isRbeeError(error) || error.code !== 'CONNECTION_TIMEOUT') return error;
  const { timeout_ms } = error.details;
  if (timeout_ms === undefined) {
    node.forgetHive();
    return error;
  }
  return new RbeeError(
    'WORKER_SPAWN_FAILED',
    `the hive of ${node.name} did not answer within ${timeout_ms} ms whether it started a worker`,
    {
      details: { node: node.name, timeout_ms },
      suggestion: `look at the hive's log: rbee-keeper logs --node ${node.name}`,
      cause: error,
    },
  );
}

function toDrainingError(workerId: string): RbeeError {
  return new RbeeError('WORKER_DRAINING', `worker ${workerId} is shutting down`, { details: { worker_id: workerId } });
}

function toLoadingError(
  node: LiveNode,
  workerId: string,
  limitMs: number,
  progress: ProgressEvent | undefined,
): RbeeError {
  const { layers_loaded, layers_total } = progress ?? {};
  const layers = layers_total === undefined ? '' : `, at layer ${layers_loaded ?? 0} of ${layers_total}`;
  return new RbeeError(
    'LOADING_TIMEOUT',
    `worker ${workerId} was still loading after ${formatDuration(limitMs)}${layers}`,
    {
      details: {
        worker_id: workerId,
        node: node.name,
        state: 'loading',
        elapsed_ms: limitMs,
        layers_loaded,
        layers_total,
      },
      suggestion: `look at the worker's log on ${node.name}: rbee-keeper logs --node ${node.name}`,
    },
  );
}
