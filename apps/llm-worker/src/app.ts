import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  announceKey,
  createNarrator,
  type Environment,
  type Listening,
  type Logger,
  listen,
  type Narrate,
  type Running,
  serve,
} from '@rbee/daemon-kit';
import { RbeeError, toRbeeError, workerRoutes } from '@rbee/protocol';
import type { WorkerSettings } from './config.js';
import type { Engine } from './engine/engine.js';
import { HiveLink } from './hive-link.js';
import { toReport } from './hive-report.js';
import { Jobs } from './jobs.js';
import { LoadFeed } from './load-feed.js';
import { workerHandlers } from './routes.js';
import { WorkerStatus } from './worker-status.js';

export interface WorkerAppOptions {
  readonly environment: Pick<Environment, 'clock'>;
  readonly settings: WorkerSettings;
  readonly log: Logger;
  /** Takes what is narrated outside of jobs, one line of JSON each. */
  readonly output: { write(line: string): void };
  readonly pid: number;
  /** Value of UV_THREADPOOL_SIZE with which this process was started. */
  readonly threadPoolSize: string | undefined;
}

/** A hive that has not heard of a failed load finds it by polling: every 2 s. */
const FAILURE_SHOWN_MS = 5000;
/** What is left when the time for draining has passed: the engine's last step, freeing, the last answers. */
const LAST_MS = 700;
/** For the last bytes of answers and the last report to the hive; the short one when the time for draining has passed. */
const LAST_WORDS_MS = 1000;
const SHORT_WORDS_MS = 250;
const MB = 1024 * 1024;
/** What a queen sends may hold the largest body that it takes itself and, when a lost answer goes on, the tokens of its prompt. */
const QUEEN_BODY_LIMIT = 12 * MB;

/**
 * The worker: binds its server, tells its hive, loads the model, serves jobs until it is asked to stop.
 *
 * Ends with 0 after a stop, with 1 when the model can't be loaded, the engine fails for good, or a shutdown takes too long.
 */
export class WorkerApp implements Running {
  readonly ended: Promise<number>;
  readonly status: WorkerStatus;
  readonly #options: WorkerAppOptions;
  readonly #jobs: Jobs;
  readonly #feed = new LoadFeed();
  readonly #narrate: Narrate;
  readonly #loadAbort = new AbortController();
  #listening!: Listening;
  #link: HiveLink | undefined;
  #loading: Promise<void> = Promise.resolve();
  #engine: Engine | undefined;
  #stopping: Promise<void> | undefined;
  #failed = false;
  #end!: (exitCode: number) => void;

  /** Starts a worker; resolves when its server is bound. Throws CONFIG_INVALID when the port can't be had. */
  static async start(options: WorkerAppOptions): Promise<WorkerApp> {
    const app = new WorkerApp(options);
    await app.#bind();
    // Not before whoever starts this has taken hold of it: loading may keep the process from everything else.
    app.#loading = nextTurn()
      .then(() => app.#report())
      .then(() => app.#load());
    return app;
  }

  private constructor(options: WorkerAppOptions) {
    const { settings, log, output, environment } = options;
    this.#options = options;
    this.#jobs = new Jobs(environment.clock);
    this.status = new WorkerStatus(settings.slots, log);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#narrate = createNarrator({
      service: 'llm-worker-rbee',
      clock: environment.clock,
      log,
      deliver: (event) => output.write(`${JSON.stringify(event)}\n`),
      fields: { worker_id: settings.workerId, model_ref: settings.modelRef },
    });
  }

  /** Where the worker listens. */
  get url(): string {
    return this.#listening.url;
  }

  /** Lets running jobs finish for the drain time, then frees everything. Later calls wait for the first. */
  stop(reason: string): Promise<void> {
    this.#stopping ??= this.#shutDown(reason);
    return this.#stopping;
  }

  /**
   * Ends what still runs, without any more waiting for it. Resolves to whether the engine has come to rest: a process whose engine is
   * in the middle of a step can't exit, it would wait for the end of that step.
   */
  async abandon(): Promise<boolean> {
    const { clock } = this.#options.environment;
    const reason = new RbeeError('CANCELLED', 'the worker was ended before the answer was complete');
    this.#loadAbort.abort(reason);
    this.#jobs.cancelAll(reason);
    let cancelLimit: () => void = () => undefined;
    const late = new Promise<boolean>((resolve) => {
      cancelLimit = clock.after(SHORT_WORDS_MS, () => resolve(false));
    });
    const rest = this.#loading.then(() => this.#engine?.idle()).then(() => true);
    return await Promise.race([rest, late]).finally(cancelLimit);
  }

  async #bind(): Promise<void> {
    const { settings, log, environment } = this.#options;
    const { clock } = environment;
    const { workerId, modelRef, timeouts, host, port } = settings;
    const startedAt = clock.monotonic();
    this.#narrate({
      actor: 'llm-worker-rbee',
      action: 'startup',
      target: workerId,
      human: `starting worker ${workerId}`,
    });
    this.#checkThreadPool();
    const parts = {
      workerId,
      modelRef,
      status: this.status,
      jobs: this.#jobs,
      feed: this.#feed,
      clock,
      log,
      startedAt,
      timeouts,
    };
    const handlers = workerHandlers({ ...parts, shutDown: (reason) => void this.stop(reason) });
    const app = serve(workerRoutes, handlers, {
      ...{ clock, log, keepAliveMs: timeouts.keep_alive, service: 'llm-worker-rbee' },
      get key() {
        return settings.key;
      },
      bodyLimit: (headers) => (headers['x-rbee-large-body'] === '1' ? QUEEN_BODY_LIMIT : MB),
    });
    this.#listening = await listen('llm-worker-rbee', app, { host, port });
    this.#announceKey();
    this.#narrate({
      actor: 'http-server',
      action: 'server_start',
      target: this.url,
      human: `listening on ${this.url}`,
    });
  }

  #announceKey(): void {
    const { log, settings } = this.#options;
    const { host, key, keyFile } = settings;
    if (!key || keyFile) announceKey(log, host, keyFile);
    else log.info({ source: 'flag', identity: key.fingerprint }, 'a key was loaded: callers need it');
  }

  /** With more than one thread, each step may run on another one, and the compute threads have to be set up anew for it. */
  #checkThreadPool(): void {
    const { threadPoolSize, settings } = this.#options;
    if (threadPoolSize === '1') return;
    const human = 'generation will be slow: start this process with UV_THREADPOOL_SIZE=1';
    this.#narrate({ actor: 'llm-worker-rbee', action: 'startup', target: settings.workerId, human, level: 'warn' });
  }

  /** The first callback goes out before the engine takes the only thread of libuv's pool for loading. */
  async #report(): Promise<void> {
    const { settings, log, environment, pid } = this.#options;
    const { callbackUrl, workerId, timeouts } = settings;
    if (callbackUrl === undefined) return;
    const report = toReport({ settings, status: this.status, jobs: this.#jobs, url: this.url, pid });
    this.#link = new HiveLink({
      ...{ url: callbackUrl, workerId, clock: environment.clock, log, timeouts, report },
      get key() {
        return settings.key;
      },
    });
    this.status.onChange((what) => (what === 'phase' ? this.#link?.notify() : this.#link?.notifySoon()));
    await this.#link.call();
    const human = this.#link.acknowledged
      ? 'the hive knows this worker'
      : 'the hive did not answer; trying again later';
    this.#narrate({ actor: 'llm-worker-rbee', action: 'callback_ready', target: callbackUrl, human });
  }

  async #load(): Promise<void> {
    const { settings, log, environment } = this.#options;
    const { clock } = environment;
    const { modelRef, modelPath, backend, device, slots, contextSize } = settings;
    const start = clock.monotonic();
    const on = backend === 'cpu' ? 'cpu' : `${backend}:${device}`;
    this.#narrate({ actor: 'device-manager', action: 'device_init', target: on, human: `using ${on}`, device: on });
    this.#narrate({
      actor: 'model-loader',
      action: 'model_load',
      target: modelRef,
      human: `loading ${modelRef} on ${on}`,
    });
    try {
      // Only now: it takes a third of a second, in which the server would not be reachable and the hive would not know of it.
      const { Engine } = await import('./engine/engine.js');
      const engine = await Engine.load({
        ...{ modelPath, backend, slots, contextSize, log, now: clock.monotonic, signal: this.#loadAbort.signal },
        onProgress: ({ layersLoaded, layersTotal, vramBytes }) =>
          this.#feed.set({
            stage: 'loading_to_vram',
            layers_loaded: layersLoaded,
            layers_total: layersTotal,
            vram_mb: Math.round(vramBytes / MB),
          }),
      });
      this.#engine = engine;
      this.status.loaded(engine);
      void engine.broken.then((error) => this.#giveUp(error, 'inference-backend'));
      const ms = Math.round(clock.monotonic() - start);
      const facts = `${engine.layers} layers, ${engine.slotsTotal} slots of ${engine.contextSize} tokens`;
      const human = `loaded ${modelRef} in ${ms} ms: ${facts}`;
      this.#narrate({ actor: 'model-loader', action: 'model_loaded', target: modelRef, human, duration_ms: ms });
    } catch (error) {
      if (!this.#loadAbort.signal.aborted) return await this.#giveUp(toRbeeError(error), 'model-loader');
      const { code, message } = toRbeeError(this.#loadAbort.signal.reason);
      return this.#feed.set({ stage: 'error', code, message });
    }
    this.#feed.set({ stage: 'ready' });
    await this.#link?.call();
  }

  /** Tells everybody that there is no working model, and ends. */
  async #giveUp(error: RbeeError, actor: 'model-loader' | 'inference-backend'): Promise<void> {
    const { log, settings, environment } = this.#options;
    log.error({ error }, `the worker can't go on and ends: ${error.message}`);
    this.#failed = true;
    this.status.failed(error);
    this.#jobs.cancelAll(error);
    this.#feed.set({ stage: 'error', code: error.code, message: error.message });
    const target = settings.modelRef;
    const kind = error.code.toLowerCase();
    this.#narrate({
      actor,
      action: 'error',
      target,
      human: error.message,
      level: 'error',
      error_kind: kind,
    });
    await this.#link?.call();
    const leave = (): void => {
      this.#stopping ??= this.#leave();
    };
    if (this.#link && !this.#link.acknowledged) environment.clock.after(FAILURE_SHOWN_MS, leave);
    else leave();
  }

  /** Ends after a failure; what the failure leaves stuck is not waited for. */
  async #leave(): Promise<void> {
    const cancelDeadline = this.#options.environment.clock.after(LAST_MS, () => this.#end(1));
    await this.#jobs.idle();
    await this.#release(SHORT_WORDS_MS);
    cancelDeadline();
    this.#end(1);
  }

  async #shutDown(reason: string): Promise<void> {
    const { settings, environment, log } = this.#options;
    const { drain } = settings.timeouts;
    const { clock } = environment;
    const { workerId } = settings;
    this.#narrate({
      actor: 'llm-worker-rbee',
      action: 'shutdown',
      target: workerId,
      human: `shutting down (${reason})`,
    });
    this.status.drain();
    this.#loadAbort.abort(new RbeeError('WORKER_DRAINING', 'the worker is shutting down'));
    const cancelDeadline = clock.after(drain + LAST_MS, () => {
      log.error({ deadline_ms: drain + LAST_MS }, 'the shutdown took too long: ending without freeing anything');
      this.#end(1);
    });
    const drainEnd = clock.monotonic() + drain;
    const cancelDrain = clock.after(drain, () => {
      this.#jobs.cancelAll(new RbeeError('CANCELLED', 'the worker shut down before the answer was complete'));
    });
    await this.#jobs.idle();
    cancelDrain();
    await this.#loading;
    await this.#release(Math.max(SHORT_WORDS_MS, Math.min(LAST_WORDS_MS, drainEnd - clock.monotonic())));
    this.#narrate({
      actor: 'llm-worker-rbee',
      action: 'exit',
      target: workerId,
      human: `worker ${workerId} has ended`,
    });
    cancelDeadline();
    this.#end(this.#failed ? 1 : 0);
  }

  /** Frees everything. What can't be freed goes with the process. */
  async #release(lastWordsMs: number): Promise<void> {
    const { settings, log } = this.#options;
    const { backend } = settings;
    const freed = this.#engine?.dispose().then(
      () => true,
      (error: unknown) => log.error({ error }, 'the memory of the model could not be freed'),
    );
    if (freed && (await freed) === true) {
      this.#narrate({
        actor: 'device-manager',
        action: 'memory_freed',
        target: backend,
        human: 'freed the memory of the model',
      });
    }
    await Promise.all([this.#listening.close(lastWordsMs), this.#link?.close(lastWordsMs)]);
  }
}
