import { type Exit, formatDuration, identify, isRunning, type ProcessIdentity, type Secret } from '@rbee/daemon-kit';
import {
  type Heartbeat,
  type MemoryFigures,
  type Model,
  RbeeError,
  type ReadyCallback,
  type ReadyStatus,
  type WorkerDetail,
  type Worker as WorkerView,
} from '@rbee/protocol';
import type { Footprint, MemoryHolder } from '../preflight/footprint.js';
import type { EngineFault } from './canary-check.js';
import { IdleTimer } from './idle-timer.js';
import type { WorkerSpec } from './launch-plan.js';
import { ProcessEnding, type StopLimits } from './process-ending.js';
import type { WorkerLoss } from './restart-policy.js';
import { WorkerClient } from './worker-client.js';
import type { WorkerContext } from './worker-context.js';
import * as failure from './worker-failures.js';
import { readNarration } from './worker-output.js';
import type { WorkerProcess } from './worker-process.js';
import { WorkerStart } from './worker-start.js';
import { type WorkerIdentity, WorkerStatus } from './worker-status.js';
import { WorkerVitals } from './worker-vitals.js';
import { createWorkerVoice, sayEnded, type WorkerVoice } from './worker-voice.js';

/**
 * One worker and, when the hive started it, its process. Nobody else changes its state.
 *
 *     provisioning ──model is there──> starting
 *
 *     starting ──first callback──> loading ──second callback──> idle <──slots──> busy
 *        │                            │                           └──┬─────────────┘
 *        ├── exit, deadline ──────────┤ exit, deadline, failed       │ request, idle time, drain reported
 *        └────────> failed <──────────┘                              └──> draining ──exit──> gone
 *
 * A worker that waits for its model has no process and no address; it fails or goes when the model does not come.
 * An exit while idle or busy is a crash and leads to failed, with what is known about it. `unhealthy` covers loading, idle and
 * busy after one or two failed health checks; the third ends the process, and so does an engine that stands still. A worker
 * that is not owned is never signalled.
 */
export class Worker {
  readonly start: WorkerStart;
  readonly say: WorkerVoice;
  /** Its model, once that is on this machine. */
  model: Model | undefined;
  /** How it was started; `undefined` for a worker that this hive did not start, and for one that waits for its model. */
  spec: WorkerSpec | undefined;
  /** Folder of the installation that it runs from, where that is not the hive's own. */
  installation: string | undefined;
  /** Why it was lost, when nobody told it to end. */
  loss: WorkerLoss | undefined;
  /** When it became ready for jobs, in milliseconds since the epoch. */
  readySince: number | undefined;
  private readonly status: WorkerStatus;
  private connection: WorkerClient | undefined;
  private readonly idle: IdleTimer;
  private readonly vitals: WorkerVitals;
  private readonly ending: ProcessEnding;
  private readonly createdAt: number;
  private process: WorkerProcess | undefined;
  /** The process of a worker that is not owned. */
  private foreign: ProcessIdentity | undefined;
  /** Whether another hive started it; what it reports may go to an address where nobody is. */
  private takenOver = false;
  private over = false;
  private letGo = false;
  private stopping: Promise<void> | undefined;
  private askedToEnd = false;
  private readonly left = new AbortController();

  constructor(
    identity: WorkerIdentity,
    readonly key: Secret | undefined,
    private readonly context: WorkerContext,
    correlationId?: string,
  ) {
    const { clock, timeouts, log } = context;
    const { workerId } = identity;
    this.createdAt = clock.now();
    this.start = new WorkerStart(clock);
    this.status = new WorkerStatus(identity, this.createdAt);
    if (!this.provisioning) this.connection = this.createClient();
    this.ending = new ProcessEnding(clock, (reason) => this.recordForceKill(reason));
    this.vitals = new WorkerVitals({
      ...{ clock, timeouts, log: log.with({ worker_id: workerId }), client: () => this.client, gone: this.left.signal },
      isIdle: () => this.status.unoccupied,
      onFailures: (inARow) => {
        this.status.failedHealthChecks = inARow;
        this.changed();
      },
      onUnhealthy: (reason) => this.endUnhealthy(reason),
      onFault: (fault) => this.endStanding(fault),
    });
    this.idle = new IdleTimer(clock, timeouts.idle_worker, () => this.background(this.endIfIdle()));
    this.say = createWorkerVoice(identity, context, correlationId, (event) => this.start.hear(event));
  }

  get id(): string {
    return this.identity.workerId;
  }

  get identity(): WorkerIdentity {
    return this.status.identity;
  }

  /** Aborted when it fails or leaves, for those who get its model. */
  get gone(): AbortSignal {
    return this.left.signal;
  }

  /** Whether it waits for its model. */
  get provisioning(): boolean {
    return this.status.state === 'provisioning';
  }

  /** A failed worker is only kept for inspection. */
  get failed(): boolean {
    return this.status.state === 'failed';
  }

  /** Whether the memory that it was promised is not yet in use. */
  get starting(): boolean {
    return this.status.state === 'starting' || this.status.state === 'loading';
  }

  /** Whether its process has gone, or it was let go. */
  get ended(): boolean {
    return this.over;
  }

  /** Whether it goes on without this hive. */
  get released(): boolean {
    return this.letGo;
  }

  /** Whether it stays loaded, whatever else happens. */
  get pinned(): boolean {
    return this.identity.pinned ?? false;
  }

  /** Its process, for the record; `undefined` while there is none, and for a worker that is not owned. */
  get processIdentity(): ProcessIdentity | undefined {
    return this.process?.identity;
  }

  /** Whether jobs can be sent, though perhaps not at this moment. */
  get serving(): boolean {
    return this.status.serving;
  }

  /** Whether it may be ended for the sake of another: nothing runs on it, nobody wants it to stay, and its first job has had time to come. */
  get evictable(): boolean {
    return this.movable && this.resting && this.status.shown === 'idle' && !this.justStarted;
  }

  /** Whether it makes room for others as soon as nothing runs on it. */
  get movable(): boolean {
    return this.identity.owned && !this.pinned;
  }

  /** Whether it became ready only now: whoever had it started looks for that every `ready_poll` at least, and comes with a job. */
  get justStarted(): boolean {
    const { clock, timeouts } = this.context;
    if (!this.resting || this.status.lastJobEndedAt !== undefined || this.readySince === undefined) return false;
    return clock.now() - this.readySince < 2 * timeouts.ready_poll;
  }

  /** Whether it is on its way out, and what it holds comes free by itself. */
  get leaving(): boolean {
    return this.status.state === 'draining';
  }

  /** Since when nothing runs on it, in milliseconds since the epoch: the end of its last job, or when it became ready. */
  get idleSince(): number {
    return this.idle.idleSince;
  }

  /** The memory that it has taken; `undefined` where that is not known, or not taken yet. */
  get held(): MemoryHolder | undefined {
    const { footprint } = this.status;
    const { backend, device } = this.identity;
    const taken = this.status.serving || this.leaving;
    return taken && footprint !== undefined ? { backend, device, footprint } : undefined;
  }

  toView(): WorkerView {
    return this.status.toView();
  }

  toDetail(): WorkerDetail {
    return this.status.toDetail(this.key?.reveal());
  }

  /** Its model is there: it gets its place. */
  settle(place: { readonly url: string; readonly device: number }): void {
    this.status.identity = { ...this.identity, ...place };
    this.connection = this.createClient();
    this.enter('starting');
  }

  /** Its model is on this machine; what it is going to hold is estimated until its engine says. */
  equip(model: Model, footprint: Footprint): void {
    this.model = model;
    this.status.modelDigest = model.digest;
    this.status.footprint = footprint;
  }

  /** Keeps it loaded from now on, or no longer. Throws FORBIDDEN for a worker that is not owned, WORKER_DRAINING for one that ends. */
  pin(pinned: boolean): void {
    if (!this.identity.owned) throw notOwned(this.id, 'keep it loaded');
    if (this.failed || this.leaving || (pinned && this.askedToEnd)) {
      throw new RbeeError('WORKER_DRAINING', `${this.id} is ending already`, { details: { worker_id: this.id } });
    }
    if (this.pinned === pinned) return;
    this.status.identity = { ...this.identity, pinned };
    this.say(pinned ? 'pin' : 'unpin', `${this.id} ${pinned ? 'stays loaded' : 'may end when it is idle'}`);
    if (pinned) this.idle.stop();
    else if (this.resting) this.idle.start();
    this.context.onChanged(this);
    this.changed();
  }

  /**
   * Ends for the sake of another worker, if nothing runs on it. Resolves once the process has gone; with false where a job has
   * come meanwhile, or it does not answer.
   */
  async makeWay(reason: string): Promise<boolean> {
    const { kill } = this.context.timeouts;
    if (this.leaving) return this.ending.within(kill);
    if (!this.evictable) return false;
    try {
      if (!(await this.askToEnd(0))) {
        this.takeReady(await this.client.ready());
        return false;
      }
    } catch (error) {
      this.context.log.warn({ error, worker_id: this.id }, 'an idle worker could not be asked to make room');
      return false;
    }
    await this.beginStop(reason, { drainMs: kill, killMs: kill }, async () => true);
    return this.over;
  }

  /** Takes charge of a process that was just started. */
  attach(process: WorkerProcess): void {
    const { timeouts } = this.context;
    this.watch(process);
    this.say('worker_start', `worker process ${process.pid} started on ${this.identity.url}`);
    if (this.status.state !== 'starting') return;
    this.start.expectWithin(timeouts.worker_startup, () => {
      this.fail(failure.neverCalledBack(this.facts(), timeouts.worker_startup));
      this.kill('no callback after its start');
    });
  }

  /** Takes charge of a process that another hive started, as it says that it is now. */
  adopt(process: WorkerProcess, ready: ReadyStatus): void {
    this.takenOver = true;
    this.watch(process);
    this.start.reached();
    this.say('worker_adopted', `took over ${this.id} of an earlier hive, process ${process.pid}, ${ready.state}`);
    if (ready.state === 'loading') {
      this.enterLoading();
      return;
    }
    this.readySince = this.context.clock.now();
    if (ready.last_job_ended_at !== undefined) this.idle.continueFrom(ready.last_job_ended_at);
    this.enter('idle');
    this.takeReady(ready);
    this.start.succeed({ type: 'end', worker_id: this.id, state: this.status.shown });
  }

  /** It takes the place of a worker that was lost. */
  continues(restarts: number): void {
    this.status.restartCount = restarts;
    this.changed();
  }

  /** The start has failed in the hive itself. */
  abandon(error: RbeeError): void {
    this.fail(error);
    if (this.process === undefined) this.finish();
    else this.kill('its start failed');
  }

  /** Resolves when everything that the process wrote until now has been taken in. */
  async hearOutput(): Promise<void> {
    await this.process?.catchUp().catch((error: unknown) => {
      // Without its narration a worker still works.
      this.context.log.warn({ error, worker_id: this.id }, "a worker's output cannot be read");
    });
  }

  /** Takes the callback of a worker: its server is bound, its model is loaded, or it can't be. */
  onReady(callback: ReadyCallback): void {
    if (this.failed || this.provisioning || this.status.state === 'draining') return;
    if (!this.identity.owned && callback.pid !== undefined) {
      this.foreign ??= identify(callback.pid);
      this.status.pid = this.foreign?.pid;
    }
    if (callback.memory !== undefined) this.noteMemory(callback.memory);
    if (callback.slots_total !== undefined) this.status.slotsTotal = callback.slots_total;
    if (this.status.state === 'starting') this.enterLoading();
    if (callback.state === 'failed') this.onLoadFailed(callback.error);
    else if (callback.state === 'draining') this.onDraining();
    else if (callback.state !== 'loading') this.takeSlots(callback.slots_available ?? this.status.slotsTotal);
  }

  onHeartbeat(beat: Heartbeat): void {
    const { state } = this.status;
    if (state === 'failed' || state === 'draining' || state === 'starting' || state === 'provisioning') return;
    if (beat.last_job_ended_at !== undefined) this.noteJobEnd(beat.last_job_ended_at);
    this.status.jobsActive = beat.jobs_active;
    if (beat.health_status === 'healthy') this.vitals.noteAlive();
    if (beat.state === 'draining') this.onDraining();
    else if (beat.state === 'idle' || beat.state === 'busy') {
      this.takeSlots(beat.slots_available ?? this.status.slotsAvailable);
    }
  }

  /** Looks whether the process and its server are alive; the third failure in a row ends the worker. */
  async checkHealth(): Promise<void> {
    if (!this.checkable) return;
    if (this.foreign !== undefined && !isRunning(this.foreign)) {
      this.leave('its process has gone');
      return;
    }
    if (!(await this.vitals.checkHealth()) || !this.checkable) return;
    this.status.lastActivity = this.context.clock.now();
    if (this.takenOver) this.takeReady(await this.client.ready());
  }

  /** Looks whether the engine still works, which a healthy server does not tell; one that does not ends the worker. */
  async checkEngine(): Promise<void> {
    if (this.identity.owned && this.status.serving) await this.vitals.checkEngine();
  }

  /** Ends the worker; a second call waits for the first. Throws FORBIDDEN for a worker that is not owned. */
  stop(reason: string, limits: StopLimits = this.stopLimits): Promise<void> {
    if (!this.identity.owned) throw notOwned(this.id, 'stop it');
    // Whatever ends it already: from now on it is not wanted, and none is started in its place.
    this.loss = undefined;
    return this.beginStop(reason, limits, () => this.client.shutDown());
  }

  /** SIGKILL, checked against the start time of the process and recorded. */
  kill(reason: string): void {
    if (this.identity.owned && !this.ended)
      this.background(this.ending.kill(reason).then((gone) => this.expectGone(gone)));
  }

  /** Lets go of a worker that goes on without this hive. */
  release(): void {
    this.letGo = true;
    this.finish();
  }

  private watch(process: WorkerProcess): void {
    this.process = process;
    this.ending.attach(process);
    this.status.pid = process.pid;
    this.changed();
    this.background(process.follow(this.context.clock, (line) => this.onOutput(line)));
    this.background(process.ended.then((exit) => this.onExit(exit)));
  }

  private get resting(): boolean {
    const { state, slotsAvailable, slotsTotal } = this.status;
    return state === 'idle' && slotsAvailable === slotsTotal;
  }

  private get client(): WorkerClient {
    if (this.connection === undefined) throw new Error(`${this.id} has no address yet`);
    return this.connection;
  }

  private createClient(): WorkerClient {
    const { clock, timeouts } = this.context;
    return new WorkerClient({ workerId: this.id, url: this.identity.url, key: this.key }, clock, timeouts);
  }

  private get stopLimits(): StopLimits {
    const { drain, kill } = this.context.timeouts;
    return { drainMs: drain + kill, killMs: kill };
  }

  private get checkable(): boolean {
    return this.status.serving || this.status.state === 'loading';
  }

  private onOutput(line: string): void {
    const narration = readNarration(line);
    if (narration === undefined) return;
    const event = { ...narration, worker_id: narration.worker_id ?? this.id };
    this.context.publish(event);
    this.start.hear(event);
  }

  private enterLoading(): void {
    const { model_load } = this.context.timeouts;
    this.enter('loading');
    this.start.reached();
    this.start.expectWithin(model_load, () => {
      this.fail(failure.loadedTooSlowly(this.facts(), model_load, this.start.layers));
      this.kill('model not loaded in time');
    });
    this.background(this.followLoading());
  }

  private async followLoading(): Promise<void> {
    await this.start.followLoad(this.client);
    // The second callback says the same; it is asked for as well because it might have been lost.
    if (this.status.state === 'loading') this.takeReady(await this.client.ready());
  }

  private takeReady(ready: ReadyStatus): void {
    if (ready.last_job_ended_at !== undefined) this.noteJobEnd(ready.last_job_ended_at);
    if (ready.state === 'error') this.onLoadFailed(ready.error);
    else if (ready.state === 'draining') this.onDraining();
    else if (ready.state !== 'loading') {
      this.status.slotsTotal = ready.slots_total;
      this.takeSlots(ready.slots_available);
    }
  }

  private noteJobEnd(at: string): void {
    this.idle.workEnded(at);
    const ended = Date.parse(at);
    if (Number.isFinite(ended)) this.status.lastJobEndedAt = ended;
  }

  private noteMemory(figures: MemoryFigures): void {
    this.context.onMemory(this, figures);
    const { footprint } = this.status;
    if (footprint !== undefined) this.status.footprint = { ...footprint, modelBytes: figures.total_bytes };
  }

  private takeSlots(available: number): void {
    const wasLoading = this.status.state === 'loading';
    if (!wasLoading && !this.status.serving) return;
    if (available !== this.status.slotsAvailable) this.status.lastActivity = this.context.clock.now();
    this.status.slotsAvailable = Math.min(available, this.status.slotsTotal);
    if (wasLoading) {
      this.idle.workEnded();
      this.readySince = this.context.clock.now();
    }
    this.enter(this.status.slotsAvailable > 0 ? 'idle' : 'busy');
    if (wasLoading) this.announceReady();
    if (this.status.slotsAvailable < this.status.slotsTotal) this.idle.stop();
    else if (this.identity.owned && !this.identity.pinned) this.idle.start();
  }

  private announceReady(): void {
    const duration_ms = Math.round(this.context.clock.now() - this.createdAt);
    const human = `worker ready: ${this.identity.modelRef} loaded in ${formatDuration(duration_ms)}`;
    this.say('worker_ready', human, { duration_ms });
    this.start.succeed({ type: 'end', worker_id: this.id, state: this.status.shown });
  }

  /** Asks it to end if it has been idle for so long. Until it has answered, nobody can promise that it stays. */
  private async askToEnd(idleMs: number): Promise<boolean> {
    this.askedToEnd = true;
    try {
      return await this.client.shutDown(idleMs);
    } finally {
      this.askedToEnd = false;
    }
  }

  private async endIfIdle(): Promise<void> {
    if (this.status.state !== 'idle' || this.identity.pinned) return;
    const { idle_worker, health_poll } = this.context.timeouts;
    try {
      if (!(await this.askToEnd(idle_worker))) return this.takeReady(await this.client.ready());
      this.say('idle_timeout', `${this.id} had no job for ${formatDuration(idle_worker)} and ends`);
      this.background(this.beginStop('idle', this.stopLimits, async () => true));
    } catch (error) {
      this.context.log.warn({ error, worker_id: this.id }, 'an idle worker could not be asked to end');
      this.idle.startIn(health_poll);
    }
  }

  /** The worker said that it ends, for example because someone sent it a signal. */
  private onDraining(): void {
    if (!this.identity.owned) this.enter('draining');
    else this.background(this.beginStop('it ends by itself', this.stopLimits, async () => true));
  }

  private onLoadFailed(error: ReadyCallback['error']): void {
    this.fail(failure.reportedFailure(this.facts(), error));
    if (this.identity.owned) this.background(this.endFailedProcess());
  }

  /** After a failed load the worker ends by itself; it is helped along when it does not. */
  private async endFailedProcess(): Promise<void> {
    if (await this.ending.within(this.context.timeouts.shutdown_ack)) return;
    await this.beginStop('its start failed', this.stopLimits, () => this.client.shutDown());
  }

  private beginStop(reason: string, limits: StopLimits, requestShutdown: () => Promise<boolean>): Promise<void> {
    this.stopping ??= this.runStop(reason, limits, requestShutdown);
    return this.stopping;
  }

  private async runStop(reason: string, limits: StopLimits, requestShutdown: () => Promise<boolean>): Promise<void> {
    const waits = this.provisioning;
    const reachable = this.status.state !== 'starting';
    if (!this.failed) {
      this.enter('draining');
      this.say('shutdown', `stopping ${this.id} (${reason})`);
      this.start.fail(failure.stoppedEarly(this.facts(), reason));
    }
    if (waits) return this.finish();
    this.expectGone(await this.ending.stop(reachable ? requestShutdown : async () => false, limits));
  }

  private expectGone(gone: boolean): void {
    if (gone) return;
    this.context.log.error({ worker_id: this.id, pid: this.status.pid }, 'a killed worker process still exists');
    this.finish();
  }

  private endUnhealthy(reason: string): void {
    if (!this.checkable) return;
    if (!this.identity.owned) {
      this.leave(reason);
      return;
    }
    this.loss = 'unhealthy';
    this.endNow(reason);
  }

  /** No request and no SIGTERM would reach it. */
  private endNow(reason: string): void {
    this.enter('draining');
    this.start.fail(failure.stoppedEarly(this.facts(), reason));
    this.kill(reason);
  }

  private endStanding({ why, moves }: EngineFault): void {
    if (!this.identity.owned || !this.status.serving) return;
    const facts = { level: 'warn', error_kind: 'worker_hangs' } as const;
    this.say('canary', `${this.id} does not generate: ${why}`, facts);
    this.loss = 'canary';
    if (this.status.unoccupied || !moves) this.endNow(why);
    else this.background(this.beginStop(why, this.stopLimits, () => this.client.shutDown()));
  }

  private onExit(exit: Exit): void {
    const { state, pid, serving } = this.status;
    this.context.log.info({ worker_id: this.id, pid, ...exit }, 'worker process ended');
    const crashed = serving && exit.code !== 0;
    if (state === 'starting' || state === 'loading' || crashed) this.onCrash(exit);
    else if (!this.failed) sayEnded(this.say, this.identity, { pid, exit, crashed: false });
    this.finish();
  }

  private onCrash(exit: Exit): void {
    const { state, pid, serving } = this.status;
    const process = this.process?.identity;
    const forMemory = process && this.context.memoryKills.explain(process, exit);
    if (state !== 'starting')
      this.context.onCrash(failure.crashRecord(this.facts(), exit, { ...this.describeWork(), forMemory }));
    if (state === 'starting' || state === 'loading') {
      this.fail(failure.endedEarly(this.facts(), exit, state, forMemory));
    } else if (serving) {
      this.loss = 'crash';
      sayEnded(this.say, this.identity, { pid, exit, crashed: true });
      this.fail(failure.crashed(this.facts(), exit, { ...this.describeWork(), forMemory }), { told: true });
    }
  }

  private describeWork() {
    const { jobsActive, slotsTotal, slotsAvailable, state } = this.status;
    const time = new Date(this.context.clock.now()).toISOString();
    const jobs = this.status.serving ? (jobsActive ?? slotsTotal - slotsAvailable) : 0;
    return { time, state, jobs, modelRef: this.identity.modelRef };
  }

  /** Forgets a worker without touching its process. */
  private leave(reason: string): void {
    this.say('worker_removed', `${this.id} removed: ${reason}`, { level: 'warn' });
    this.finish();
  }

  /** The start came to nothing: the worker is kept for inspection, its process must end. */
  private fail(error: RbeeError, { told = false } = {}): void {
    if (this.failed) return;
    this.loss ??= 'start';
    this.status.lastError = error;
    this.enter('failed');
    const facts = { level: 'error', error_kind: error.code.toLowerCase() } as const;
    if (!told) this.say('worker_removed', `${this.id} failed: ${error.message}`, facts);
    this.start.fail(error);
    this.left.abort(error);
    this.context.onLeft(this, 'failed');
  }

  /** The worker has left for good. */
  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.idle.stop();
    this.start.fail(failure.stoppedEarly(this.facts(), 'it has ended'));
    this.left.abort(failure.stoppedEarly(this.facts(), 'it has ended'));
    this.status.pid = undefined;
    this.connection?.close();
    if (this.process !== undefined) this.background(this.process.letGo());
    this.ending.confirm();
    this.context.onLeft(this, 'gone');
  }

  /** The one place where the state changes. */
  private enter(state: WorkerStatus['state']): void {
    if (this.status.state !== state) {
      this.context.log.info({ worker_id: this.id, from: this.status.state, to: state }, 'worker state changed');
      this.status.state = state;
      if (!this.status.serving) this.idle.stop();
    }
    this.changed();
  }

  private changed(): void {
    if (!this.failed) this.context.publish({ type: 'worker', change: 'changed', worker: this.toView() });
  }

  private recordForceKill(reason: string): void {
    const { pid } = this.status;
    const at = new Date(this.context.clock.now()).toISOString();
    this.context.log.warn({ worker_id: this.id, pid, reason, signal: 'SIGKILL', at }, 'worker process killed');
    this.say('force_kill', `killed worker process ${pid} of ${this.id}: ${reason}`, { level: 'warn' });
  }

  private facts() {
    return { workerId: this.id, pid: this.status.pid, lastLines: this.process?.lastLines ?? [] };
  }

  private background(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.context.log.error({ error, worker_id: this.id }, 'looking after a worker failed');
    });
  }
}

function notOwned(workerId: string, what: string): RbeeError {
  return new RbeeError('FORBIDDEN', `${workerId} was not started by this hive, which therefore does not ${what}`, {
    details: { worker_id: workerId },
    suggestion: `${what} where it was started`,
  });
}
