import {
  type Call,
  type EventStream,
  type Handlers,
  type Listening,
  listen,
  orAborted,
  serve,
  silentLogger,
  systemClock,
} from '@rbee/daemon-kit';
import {
  type Backend,
  type HiveEvent,
  hiveRoutes,
  RbeeError,
  type SpawnRequest,
  VERSION,
  type Worker,
  type WorkerStartEvent,
} from '@rbee/protocol';
import { ScriptedModels } from './scripted-models.js';
import { ScriptedWorker } from './scripted-worker.js';
import { Watch } from './watch.js';

const resources = {
  ram_total_gb: 32,
  ram_available_gb: 24,
  disk_total_gb: 500,
  disk_available_gb: 400,
  ram_available_mb: 24_576,
  disk_available_mb: 409_600,
  gpus: [],
};

interface Held {
  readonly worker: ScriptedWorker;
  readonly model: string;
  readonly backend: Backend;
  state: Worker['state'];
  pinned: boolean;
}

/** A hive that answers the hive's routes over HTTP; its workers are scripted ones in the same process. */
export class ScriptedHive {
  readonly watch = new Watch();
  readonly held = new Map<string, Held>();
  readonly models = new ScriptedModels(this.watch, (change, model) => this.#tell({ type: 'model', change, model }));
  /** Names of the routes that were called, in order. */
  readonly calls: string[] = [];
  readonly spawned: SpawnRequest[] = [];
  readonly correlationIds: string[] = [];
  version = VERSION;
  /** Takes the event stream's request and never answers it. */
  mute = false;
  /** Builds the worker of the next spawn. */
  makeWorker: () => ScriptedWorker = () => new ScriptedWorker();
  /** What happens between the spawn's answer and the end of its event stream. */
  load: (send: (event: WorkerStartEvent) => void) => Promise<void> = async () => undefined;
  /** Error that answers a spawn, if any. */
  spawnError: RbeeError | undefined;
  /** The deadline header of each call, by the route's name; `undefined` where there was none. */
  readonly deadlines = new Map<string, unknown[]>();
  /** Names of the routes that take a request and never answer it. */
  readonly holds = new Set<string>();
  /** Routes by name, and how many of their calls end with a broken connection. */
  readonly breaks = new Map<string, number>();
  /** What its snapshots warn of. */
  warnings: string[] = [];
  #listening: Listening | undefined;
  readonly #everyWorker: ScriptedWorker[] = [];
  readonly #streams = new Set<(event: HiveEvent) => void>();

  get port(): number {
    return this.#listening?.port ?? 0;
  }

  get worker(): ScriptedWorker {
    const [first] = this.held.values();
    if (!first) throw new Error('the scripted hive has no worker yet');
    return first.worker;
  }

  async start(port = 0): Promise<this> {
    const app = serve(hiveRoutes, this.#noting(this.#handlers()), {
      clock: systemClock,
      log: silentLogger,
      onCall: (name) => {
        this.calls.push(name);
        this.watch.touch();
      },
    });
    this.#listening = await listen('rbee-hive', app, { host: '127.0.0.1', port });
    return this;
  }

  /** Adds a worker that runs already. */
  async addWorker(
    worker: ScriptedWorker,
    { model = 'builtin:honeycomb', backend = 'cpu' as Backend, state = 'idle' as Worker['state'], pinned = false } = {},
  ): Promise<ScriptedWorker> {
    await worker.start();
    this.#everyWorker.push(worker);
    this.held.set(worker.id, { worker, model, backend, state, pinned });
    this.announce(worker.id, 'added');
    return worker;
  }

  setState(id: string, state: Worker['state']): void {
    const held = this.#get(id);
    held.state = state;
    this.announce(id, 'changed');
  }

  /** Warns whoever listens. */
  warn(text: string): void {
    this.warnings.push(text);
    this.#tell({ type: 'warning', text });
  }

  remove(id: string): void {
    const worker = this.#describe(this.#get(id));
    this.held.delete(id);
    this.#tell({ type: 'worker', change: 'removed', worker });
  }

  announce(id: string, change: 'added' | 'changed'): void {
    this.#tell({ type: 'worker', change, worker: this.#describe(this.#get(id)) });
  }

  /** What becomes of a hive that is killed. */
  async crash(): Promise<void> {
    const closed = this.#listening?.close(0);
    this.#listening?.server.closeAllConnections();
    await closed;
  }

  async stop(): Promise<void> {
    await this.crash();
    this.models.cleanUp();
    await Promise.all(this.#everyWorker.map((worker) => worker.crash()));
  }

  #tell(event: HiveEvent): void {
    for (const send of this.#streams) send(event);
    this.watch.touch();
  }

  #get(id: string): Held {
    const held = this.held.get(id);
    if (!held) throw new RbeeError('WORKER_NOT_FOUND', `there is no worker ${id}`, { details: { worker_id: id } });
    return held;
  }

  #describe({ worker, model, backend, state, pinned }: Held): Worker {
    return {
      id: worker.id,
      worker_id: worker.id,
      url: worker.url,
      model_ref: model,
      backend,
      device: 0,
      state,
      slots_total: worker.slots,
      slots_available: worker.slots - worker.jobs.size,
      last_activity: new Date(0).toISOString(),
      pid: process.pid,
      restart_count: 0,
      failed_health_checks: 0,
      owned: true,
      pinned,
      model_digest: worker.digest,
    };
  }

  #noting(handlers: Handlers<typeof hiveRoutes>): Handlers<typeof hiveRoutes> {
    const noting = Object.entries(handlers).map(([name, handle]) => [
      name,
      async (call: Call, stream: never) => {
        this.deadlines.set(name, [...(this.deadlines.get(name) ?? []), call.headers['x-request-deadline']]);
        const breaks = this.breaks.get(name) ?? 0;
        if (breaks > 0) {
          this.breaks.set(name, breaks - 1);
          this.#listening?.server.closeAllConnections();
          await orAborted(new Promise(() => undefined), call.signal);
        }
        if (this.holds.has(name)) await orAborted(new Promise(() => undefined), call.signal);
        return (handle as (call: Call, stream: never) => Promise<unknown>)(call, stream);
      },
    ]);
    return Object.fromEntries(noting) as Handlers<typeof hiveRoutes>;
  }

  #handlers(): Handlers<typeof hiveRoutes> {
    const backends = [{ name: 'cpu' as const, available: true, devices: 1 }];
    const workers = () => [...this.held.values()].map((held) => this.#describe(held));
    return {
      health: async () => ({ status: 'alive', version: this.version, api_version: 'v1', pid: process.pid }),
      events: async (call, stream) => {
        if (this.mute) await orAborted(new Promise(() => undefined), call.signal);
        const models = [...this.models.held.values()];
        const { version, warnings } = this;
        stream.send({ type: 'snapshot', version, workers: workers(), models, backends, resources, warnings });
        await this.#untilGone(call, stream);
      },
      listWorkers: async () => ({ workers: workers() }),
      spawnWorker: async (call) => this.#spawn(call),
      workerReady: async () => ({ message: 'noted' }),
      heartbeat: async () => ({ message: 'noted' }),
      getWorker: async (call) => {
        const held = this.#get(call.params.worker_id);
        return { ...this.#describe(held), api_key: held.worker.key, last_error: undefined };
      },
      workerEvents: async (call, stream) => {
        const { worker_id } = call.params;
        const held = this.#get(worker_id);
        await orAborted(
          this.load((event) => stream.send(event)),
          call.signal,
        );
        held.worker.state = 'idle';
        this.setState(worker_id, 'idle');
        stream.send({ type: 'end', worker_id, state: 'idle' });
      },
      pinWorker: async (call) => {
        const held = this.#get(call.params.worker_id);
        held.pinned = call.body.pinned;
        this.announce(held.worker.id, 'changed');
        return this.#describe(held);
      },
      shutdownWorker: async (call) => {
        const { worker } = this.#get(call.params.worker_id);
        worker.state = 'draining';
        this.setState(worker.id, 'draining');
        return { message: `stopping ${worker.id}` };
      },
      listBackends: async () => ({ backends }),
      listWorkerBinaries: async () => ({ binaries: [] }),
      resources: async () => resources,
      ...this.models.handlers(),
      logs: async (call, stream) => {
        stream.write(`the last ${call.query.lines} lines, follow ${call.query.follow}\n`);
      },
    };
  }

  async #spawn(call: Call<typeof hiveRoutes.spawnWorker>) {
    this.spawned.push(call.body);
    this.correlationIds.push(call.correlationId);
    this.watch.touch();
    if (this.spawnError) throw this.spawnError;
    const worker = this.makeWorker();
    worker.state = 'loading';
    const { model, backend, pinned } = call.body;
    await this.addWorker(worker, { model, backend, pinned, state: 'loading' });
    return {
      worker_id: worker.id,
      url: worker.url,
      state: 'loading' as const,
      events_url: `/v1/workers/${worker.id}/events`,
      api_key: worker.key,
    };
  }

  async #untilGone(call: Call, stream: EventStream<HiveEvent>): Promise<void> {
    const send = (event: HiveEvent) => void stream.send(event);
    this.#streams.add(send);
    try {
      await orAborted(new Promise(() => undefined), call.signal);
    } finally {
      this.#streams.delete(send);
    }
  }
}
