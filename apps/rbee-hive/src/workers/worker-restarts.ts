import { randomUUID } from 'node:crypto';
import { type Clock, formatDuration, type Logger } from '@rbee/daemon-kit';
import { formatModelRef, parseModelRef, type SpawnAnswer, type SpawnRequest, toRbeeError } from '@rbee/protocol';
import { decideRestart, FAILURE_WINDOW_MS, type WorkerLoss } from './restart-policy.js';
import type { Worker } from './worker.js';

export interface WorkerRestartsOptions {
  clock: Clock;
  log: Logger;
  /** Wait before the first new start. */
  waitMs: number;
  /** Whether workers that are not pinned are started again after a crash. */
  enabled: boolean;
  /** 0 to 1, for the jitter of the waits; 0.5 is none. */
  random: () => number;
  spawn: (request: SpawnRequest, correlationId: string) => Promise<SpawnAnswer>;
  find: (workerId: string) => Worker | undefined;
}

/** What a new worker takes over from the lost one. */
interface Lineage {
  readonly request: SpawnRequest;
  readonly restarts: number;
  /** Whether the start that this was for has to be tried again when it fails, also where crashes are left alone. */
  readonly insist: boolean;
}

/** A new start for a lost worker, until the new worker has taken its first job. */
interface Replacement {
  readonly request: SpawnRequest;
  /** The new worker, once it is known. */
  workerId: string | undefined;
  /** Starts it now if it still waits for its time; resolves as the start does. */
  readonly join: () => Promise<SpawnAnswer>;
}

/**
 * Starts lost workers again, as `decideRestart` says. A new worker has an id of its own and the count of its predecessors.
 * Bounded by the workers there are: each loss leads to one start at most.
 */
export class WorkerRestarts {
  /** When workers of a kind were lost of late. */
  private readonly failures = new Map<string, number[]>();
  private readonly lineages = new WeakMap<Worker, Lineage>();
  /** Starts that wait for their time, by the id of the lost worker. */
  private readonly waiting = new Map<string, () => void>();
  /** Starts that wait or have begun, by the id of the lost worker. */
  private readonly replacements = new Map<string, Replacement>();
  /** Lost workers whose process has not gone yet, and which are replaced already. */
  private readonly replaced = new WeakSet<Worker>();
  private closed = false;

  constructor(private readonly options: WorkerRestartsOptions) {}

  /** Takes the loss of a worker whose process has gone. */
  take(worker: Worker, loss: WorkerLoss): void {
    const lineage = this.lineages.get(worker);
    const request = requestOf(worker);
    if (this.closed || request === undefined || this.replaced.has(worker)) return;
    // Whoever asked for a first start hears that it failed, and decides.
    if (loss === 'start' && lineage === undefined) return;
    const insist = loss === 'canary' || (loss === 'start' && lineage?.insist === true);
    this.decide(worker, loss, { request, insist, restarts: lineage?.restarts ?? 0 }, worker.readySince);
  }

  /**
   * Somebody else wants a worker of a kind that was lost: the start that this hive makes for the lost one is the one for both, and
   * no longer waits for its time. `undefined` when no such worker is lost or being replaced. `leaving`: workers that end.
   */
  join(wanted: SpawnRequest, leaving: readonly Worker[]): Promise<SpawnAnswer> | undefined {
    if (this.closed) return undefined;
    this.forgetReady();
    for (const { request, join } of this.replacements.values()) if (serves(request, wanted)) return join();
    for (const worker of leaving) {
      const request = requestOf(worker);
      if (worker.loss !== 'canary' || request === undefined || this.replaced.has(worker)) continue;
      if (!serves(request, wanted)) continue;
      this.replaced.add(worker);
      this.noteFailure(request, this.options.clock.now());
      const restarts = (this.lineages.get(worker)?.restarts ?? 0) + 1;
      return this.prepare(worker, { request, restarts, insist: true }).join();
    }
    return undefined;
  }

  /** Somebody has stopped a worker that is lost already: it is not started again. False when no start was to come. */
  giveUp(workerId: string): boolean {
    const cancel = this.waiting.get(workerId);
    if (cancel === undefined) return false;
    cancel();
    this.waiting.delete(workerId);
    this.replacements.delete(workerId);
    this.options.log.info({ worker_id: workerId }, 'a lost worker is not started again: it was stopped');
    return true;
  }

  close(): void {
    this.closed = true;
    for (const cancel of this.waiting.values()) cancel();
    this.waiting.clear();
    this.replacements.clear();
  }

  private decide(worker: Worker, loss: WorkerLoss, lineage: Lineage, readySince: number | undefined): void {
    const { clock, log, waitMs, random } = this.options;
    const { request, restarts, insist } = lineage;
    const enabled = this.options.enabled || insist;
    const now = clock.now();
    const decision = decideRestart({
      ...{ loss, enabled, restarts, readySince, now, waitMs },
      pinned: request.pinned,
      failures: this.noteFailure(request, now),
      random: random(),
    });
    if (!decision.restart) {
      log.info({ worker_id: worker.id, loss, why: decision.why }, 'a lost worker is not started again');
      if (enabled || request.pinned)
        worker.say('worker_restart', `not started again: ${decision.why}`, { level: 'warn' });
      return;
    }
    const next = { ...lineage, restarts: decision.restarts };
    const when = decision.afterMs === 0 ? 'now' : `in ${formatDuration(Math.round(decision.afterMs))}`;
    worker.say('worker_restart', `starting another worker for ${request.model} ${when} (restart ${next.restarts})`);
    const { join } = this.prepare(worker, next);
    this.waiting.set(
      worker.id,
      // What it fails with is dealt with where it began.
      clock.after(decision.afterMs, () => void join().catch(() => undefined)),
    );
  }

  /** Makes a start known, so that others can join it; `join` begins it, once. */
  private prepare(lost: Worker, lineage: Lineage): Replacement {
    const { id } = lost;
    let begun: Promise<SpawnAnswer> | undefined;
    const begin = async () => {
      this.waiting.get(id)?.();
      this.waiting.delete(id);
      try {
        const answer = await this.start(lost, lineage);
        replacement.workerId = answer.worker_id;
        return answer;
      } catch (error) {
        if (this.replacements.get(id) === replacement) this.replacements.delete(id);
        this.onFailed(lost, lineage, error);
        throw error;
      }
    };
    const join = () => {
      begun ??= begin();
      return begun;
    };
    const replacement: Replacement = { request: lineage.request, workerId: undefined, join };
    this.forgetReady();
    this.replacements.set(id, replacement);
    return replacement;
  }

  /** Who looks for a worker finds those that take jobs without this. */
  private forgetReady(): void {
    for (const [lostId, { workerId }] of this.replacements) {
      if (workerId === undefined) continue;
      const worker = this.options.find(workerId);
      if (!worker?.provisioning && !worker?.starting && !worker?.justStarted) this.replacements.delete(lostId);
    }
  }

  private onFailed(lost: Worker, lineage: Lineage, error: unknown): void {
    const reason = toRbeeError(error);
    this.options.log.warn(
      { worker_id: lost.id, error_code: reason.code },
      `a worker could not be started again: ${reason.message}`,
    );
    if (!this.closed) this.decide(lost, 'start', lineage, undefined);
  }

  private async start(lost: Worker, lineage: Lineage): Promise<SpawnAnswer> {
    const { spawn, find, log } = this.options;
    const answer = await spawn(lineage.request, randomUUID());
    const worker = find(answer.worker_id);
    if (worker === undefined) return answer;
    log.info(
      { worker_id: worker.id, instead_of: lost.id, restart_count: lineage.restarts },
      'a lost worker was replaced',
    );
    this.lineages.set(worker, lineage);
    worker.continues(lineage.restarts);
    // It may have failed since it called back, before it was known as a successor.
    if (worker.failed) this.take(worker, 'start');
    return answer;
  }

  private noteFailure(request: SpawnRequest, now: number): readonly number[] {
    const kind = `${request.model} ${request.backend}:${request.device}`;
    for (const [other, times] of this.failures) {
      if (times.every((at) => now - at >= FAILURE_WINDOW_MS)) this.failures.delete(other);
    }
    const failures = (this.failures.get(kind) ?? []).filter((at) => now - at < FAILURE_WINDOW_MS);
    failures.push(now);
    this.failures.set(kind, failures);
    return failures;
  }
}

/** What would start a worker like this one; `undefined` when this hive never started it. */
function requestOf({ identity, pinned, spec }: Worker): SpawnRequest | undefined {
  if (spec === undefined) return undefined;
  const { modelRef: model, backend, device } = identity;
  return { model, backend, device, slots_total: spec.slots, context_size: spec.contextSize, pinned };
}

/** Whether the worker that one request starts does for another as well. */
function serves(request: SpawnRequest, wanted: SpawnRequest): boolean {
  const { model, backend, device, slots_total, context_size } = wanted;
  return (
    wanted.or_replacement === true &&
    toCommonForm(model) === request.model &&
    backend === request.backend &&
    (device === undefined || device === request.device) &&
    (slots_total === undefined || slots_total === request.slots_total) &&
    (context_size === undefined || context_size === request.context_size)
  );
}

/** A reference as workers carry it. */
function toCommonForm(model: string): string {
  const ref = parseModelRef(model);
  return ref === undefined ? model : formatModelRef(ref);
}
