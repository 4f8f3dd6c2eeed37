import { randomUUID } from 'node:crypto';
import {
  type Call,
  type EventStream,
  type Listening,
  listen,
  orAborted,
  Reply,
  Secret,
  serve,
  silentLogger,
  systemClock,
} from '@rbee/daemon-kit';
import { type InferenceEvent, type InferenceRequest, RbeeError, workerRoutes } from '@rbee/protocol';
import { Watch } from './watch.js';

/** One job on a scripted worker; its script says what the worker sends. */
export interface ScriptedJob {
  readonly id: string;
  readonly request: InferenceRequest;
  readonly headers: Call['headers'];
  readonly stream: EventStream<InferenceEvent>;
  /** Aborted when the job is cancelled or the client has gone. */
  readonly signal: AbortSignal;
  readonly cancel: (reason: RbeeError) => void;
}

export type JobScript = (job: ScriptedJob) => Promise<void>;

/** Sends words as tokens, from one of them on, and ends well. */
export function say(words: readonly string[], from = 0): JobScript {
  return async ({ stream }) => {
    for (const [i, t] of words.entries()) if (i >= from) stream.send({ type: 'token', t, i });
    stream.send({ type: 'end', tokens_out: words.length, decode_time_ms: 1, stop_reason: 'EOS' });
  };
}

/** How a recital is broken off. */
export interface BreakOff {
  /** Index of the first word that is not said any more. */
  readonly at: number;
  /** What happens in its place; then the job hangs. */
  readonly act?: (job: ScriptedJob) => unknown;
}

/** Sends words as tokens with an id each, from where the job goes on, and ends well or is broken off. */
export function recite(words: readonly string[], breakOff?: BreakOff): JobScript {
  return async (job) => {
    const { stream, request } = job;
    for (let i = request.resume?.next_i ?? 0; i < words.length; i++) {
      if (i === breakOff?.at) {
        // What was said before is on its way by then.
        await new Promise((resolve) => setImmediate(resolve));
        await breakOff.act?.(job);
        await new Promise(() => undefined);
      }
      const keptUp = stream.send({ type: 'token', t: words[i] ?? '', i, ids: [i + 1] });
      if (!keptUp) await stream.drained(job.signal);
    }
    stream.send({ type: 'end', tokens_out: words.length, decode_time_ms: 1, stop_reason: 'EOS' });
  };
}

/** Sends words as tokens and then nothing more, until the job is cancelled. */
export function hang(words: readonly string[]): JobScript {
  return async ({ stream }) => {
    for (const [i, t] of words.entries()) stream.send({ type: 'token', t, i });
    await new Promise(() => undefined);
  };
}

/** A worker that answers the worker's routes over HTTP and does what a script says. */
export class ScriptedWorker {
  readonly id = `worker-${randomUUID()}`;
  readonly key: string;
  readonly watch = new Watch();
  readonly jobs = new Map<string, ScriptedJob>();
  /** Ids of the jobs that came, in order, also those that were turned away. */
  readonly asked: string[] = [];
  readonly cancelled: string[] = [];
  state: 'loading' | 'idle' | 'draining' = 'idle';
  /** How many jobs are answered with ALL_SLOTS_BUSY whatever runs. */
  busyAnswers = 0;
  /** Whether a cancellation is never answered. */
  deaf = false;
  /** Does not answer the question whether it is ready. */
  deafToLooks = false;
  script: JobScript = say(['Once', ' upon']);
  /** What `started` tells of the prompt where the request is resumable; `undefined`: nothing, like an older worker. */
  promptIds: readonly number[] | undefined;
  /** What it sends before `started`. */
  beforeStart: (job: ScriptedJob) => void = () => undefined;
  /** Whether it goes on with a job that was cancelled. */
  keepsJobs = false;
  /** SHA-256 of its model, as its hive tells it. */
  digest: string | undefined;
  #listening: Listening | undefined;

  constructor(
    readonly slots = 4,
    key?: string,
  ) {
    this.key = key ?? randomUUID();
  }

  get url(): string {
    return this.#listening?.url ?? '';
  }

  async start(): Promise<this> {
    const handlers = {
      health: async () => ({ status: 'healthy' as const, vram_bytes: 0, uptime_seconds: 1 }),
      ready: async ({ signal }: Call) => {
        if (this.deafToLooks) await orAborted(new Promise(() => undefined), signal);
        return {
          ready: this.state === 'idle',
          state: this.state,
          slots_total: this.slots,
          slots_available: this.slots - this.jobs.size,
        };
      },
      loadingProgress: async (_call: unknown, stream: EventStream<{ stage: 'ready' }>) => {
        stream.send({ stage: 'ready' });
      },
      infer: (call: Call<typeof workerRoutes.infer>, stream: EventStream<InferenceEvent>) => this.#infer(call, stream),
      cancel: (call: Call<typeof workerRoutes.cancel>) => this.#cancel(call.params.request_id),
      canary: async () => ({ outcome: 'passed' as const, ms: 1 }),
      shutdown: async () => new Reply({ message: 'shutting down', draining: true }, 202),
    };
    const app = serve(workerRoutes, handlers as Parameters<typeof serve<typeof workerRoutes>>[1], {
      clock: systemClock,
      log: silentLogger,
      key: new Secret(this.key),
    });
    this.#listening = await listen('llm-worker-rbee', app, { host: '127.0.0.1', port: 0 });
    return this;
  }

  /** What becomes of a worker that is killed: every connection breaks, and nothing listens any more. */
  async crash(): Promise<void> {
    const closed = this.#listening?.close(0);
    this.#listening?.server.closeAllConnections();
    await closed;
  }

  /** Breaks the connections of the jobs, and lives on. */
  dropConnections(): void {
    this.#listening?.server.closeAllConnections();
  }

  async #infer(call: Call<typeof workerRoutes.infer>, stream: EventStream<InferenceEvent>): Promise<undefined> {
    const { body: request, headers } = call;
    const id = request.job_id ?? randomUUID();
    this.asked.push(id);
    this.watch.touch();
    if (this.state === 'loading') throw new RbeeError('WORKER_NOT_READY', 'the model is loading');
    if (this.state === 'draining') throw new RbeeError('WORKER_DRAINING', 'the worker is shutting down');
    if (this.jobs.has(id)) throw new RbeeError('JOB_ALREADY_RUNNING', `${id} is running`);
    if (this.busyAnswers > 0 || this.jobs.size >= this.slots) {
      this.busyAnswers--;
      const details = { slots_total: this.slots, slots_busy: this.slots };
      throw new RbeeError('ALL_SLOTS_BUSY', `all ${this.slots} slots are busy`, { details });
    }
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, call.signal]);
    const job = { id, request, headers, stream, signal, cancel: (reason: RbeeError) => abort.abort(reason) };
    this.jobs.set(id, job);
    try {
      stream.open({ 'X-Request-Id': id });
      this.beforeStart(job);
      if (!request.resume) {
        const started = { job_id: id, model: 'scripted', started_at: new Date(0).toISOString() };
        const told = request.resumable && this.promptIds ? { prompt_ids: [...this.promptIds] } : {};
        stream.send({ type: 'started', ...started, ...told });
      }
      this.watch.touch();
      await orAborted(this.script(job), signal);
    } finally {
      this.jobs.delete(id);
      this.watch.touch();
    }
  }

  async #cancel(id: string): Promise<void> {
    this.cancelled.push(id);
    this.watch.touch();
    if (this.deaf) await new Promise(() => undefined);
    if (this.keepsJobs) return;
    this.jobs.get(id)?.cancel(new RbeeError('CANCELLED', 'cancelled on request'));
    await this.watch.until(() => !this.jobs.has(id));
  }
}
