import { randomUUID } from 'node:crypto';
import { type Clock, formatDuration, type Logger } from '@rbee/daemon-kit';
import { type SpawnAnswer, type SpawnRequest, toRbeeError } from '@rbee/protocol';
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
  private closed = false;

  constructor(private readonly options: WorkerRestartsOptions) {}

  /** Takes the loss of a worker whose process has gone. */
  take(worker: Worker, loss: WorkerLoss): void {
    const lineage = this.lineages.get(worker);
    const request = requestOf(worker);
    if (this.closed || request === undefined) return;
    // Whoever asked for a first start hears that it failed, and decides.
    if (loss === 'start' && lineage === undefined) return;
    const insist = loss === 'canary' || (loss === 'start' && lineage?.insist === true);
    this.decide(worker, loss, { request, insist, restarts: lineage?.restarts ?? 0 }, worker.readySince);
  }

  /** Somebody has stopped a worker that is lost already: it is not started again. */
  giveUp(workerId: string): void {
    const cancel = this.waiting.get(workerId);
    if (cancel === undefined) return;
    cancel();
    this.waiting.delete(workerId);
    this.options.log.info({ worker_id: workerId }, 'a lost worker is not started again: it was stopped');
  }

  close(): void {
    this.closed = true;
    for (const cancel of this.waiting.values()) cancel();
    this.waiting.clear();
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
    const cancel = clock.after(decision.afterMs, () => {
      this.waiting.delete(worker.id);
      this.start(worker, next).catch((error: unknown) => {
        const reason = toRbeeError(error);
        log.warn(
          { worker_id: worker.id, error_code: reason.code },
          `a worker could not be started again: ${reason.message}`,
        );
        if (!this.closed) this.decide(worker, 'start', next, undefined);
      });
    });
    this.waiting.set(worker.id, cancel);
  }

  private async start(lost: Worker, lineage: Lineage): Promise<void> {
    const { spawn, find, log } = this.options;
    const answer = await spawn(lineage.request, randomUUID());
    const worker = find(answer.worker_id);
    if (worker === undefined) return;
    log.info(
      { worker_id: worker.id, instead_of: lost.id, restart_count: lineage.restarts },
      'a lost worker was replaced',
    );
    this.lineages.set(worker, lineage);
    worker.continues(lineage.restarts);
    // It may have failed since it called back, before it was known as a successor.
    if (worker.failed) this.take(worker, 'start');
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
