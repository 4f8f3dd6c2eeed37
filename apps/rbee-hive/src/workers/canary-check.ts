import { type Clock, formatDuration, sleep, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError } from '@rbee/protocol';
import { wasLate } from './health-check.js';
import type { WorkerClient, WorkerHealth } from './worker-client.js';

/** An engine that seems to stand still is looked at again after this: the worker, or its machine, may only have slept. */
const SECOND_LOOK_MS = 1_000;
/** The worker has answered, and its engine could not do what it was asked for. */
const ENGINE_ERRORS: ReadonlySet<string> = new Set(['INFERENCE_FAILED', 'INTERNAL_ERROR']);

/** What is wrong with an engine, and whether its jobs still move. */
export interface EngineFault {
  readonly why: string;
  readonly moves: boolean;
}

/**
 * Finds out whether a worker's engine works: it has to evaluate one token, or, where all its slots are in use, to get on with
 * what it does. That nobody can reach the worker is for the health checks to find out. One check runs at a time.
 */
export class CanaryCheck {
  private running = false;

  constructor(
    private readonly clock: Clock,
    private readonly timeouts: Pick<Timeouts, 'canary_answer'>,
    private readonly client: () => Pick<WorkerClient, 'sendCanary' | 'checkHealth'>,
    private readonly gone: AbortSignal,
    /** Whether no job runs there, as far as the worker has told. */
    private readonly isIdle: () => boolean,
  ) {}

  /** Sends a canary; `undefined` when nothing speaks against the engine. */
  run(): Promise<EngineFault | undefined> {
    return this.alone(() => this.sendCanary());
  }

  /** Judges by what the worker has said of its health; `undefined` as for `run`. */
  examine(first: WorkerHealth): Promise<EngineFault | undefined> {
    return this.alone(() => this.lookTwice(first));
  }

  private async alone(look: () => Promise<EngineFault | undefined>): Promise<EngineFault | undefined> {
    if (this.running) return undefined;
    this.running = true;
    try {
      return await look();
    } finally {
      this.running = false;
    }
  }

  private async sendCanary(): Promise<EngineFault | undefined> {
    const begun = this.clock.monotonic();
    let busy: boolean;
    try {
      busy = (await this.client().sendCanary()).outcome === 'busy';
    } catch (error) {
      if (this.gone.aborted || wasLate(this.clock, begun, this.timeouts.canary_answer)) return undefined;
      return this.judge(error);
    }
    const health = busy ? await this.askHealth() : undefined;
    return health && this.lookTwice(health);
  }

  private async lookTwice(first: WorkerHealth): Promise<EngineFault | undefined> {
    if (!this.stands(first)) return undefined;
    await sleep(this.clock, SECOND_LOOK_MS, this.gone).catch(() => undefined);
    const second = await this.askHealth();
    if (second === undefined) return undefined;
    const stands = this.stands(second) && (second.step_ms ?? 0) > (first.step_ms ?? 0);
    if (!stands) return undefined;
    return { why: `its engine has been at one step for ${formatDuration(second.step_ms ?? 0)}`, moves: false };
  }

  private async judge(error: unknown): Promise<EngineFault | undefined> {
    if (!isRbeeError(error)) throw error;
    const { code, details, message } = error;
    if (ENGINE_ERRORS.has(code))
      return { why: `its engine answered a canary with ${code}: ${message}`, moves: await this.moves() };
    const silent = code === 'CONNECTION_TIMEOUT' && details.timeout_ms !== undefined;
    if (!silent) return undefined;
    const waited = formatDuration(this.timeouts.canary_answer);
    return { why: `no answer to a canary within ${waited}`, moves: await this.moves() };
  }

  /** Whether the worker still answers and its engine gets on with jobs. Where there is none, nothing is left to find out. */
  private async moves(): Promise<boolean> {
    if (this.isIdle()) return false;
    const health = await this.askHealth(SECOND_LOOK_MS);
    return health !== undefined && !this.stands(health);
  }

  /** A worker that does not answer is counted by its health checks, and not here. */
  private askHealth(timeoutMs?: number): Promise<WorkerHealth | undefined> {
    return this.client()
      .checkHealth(timeoutMs)
      .catch(() => undefined);
  }

  private stands({ step_ms = 0 }: WorkerHealth): boolean {
    return step_ms > this.timeouts.canary_answer;
  }
}
