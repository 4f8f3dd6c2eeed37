import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Clock,
  callJson,
  callStream,
  httpTransport,
  processEnvironment,
  Secret,
  systemClock,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import {
  hiveEventSchema,
  hiveRoutes,
  type SpawnAnswer,
  type Worker,
  type WorkerStartEvent,
  workerStartEventSchema,
} from '@rbee/protocol';
import { createHive, type Hive } from '../src/app.js';
import { type HiveConfig, loadHiveConfig } from '../src/config.js';
import { BUNDLED_MODELS_DIR } from '../src/installation.js';
import { READ_TYPESCRIPT } from './hive-program.js';

export interface TestHiveOptions {
  /** What each worker does; see scripted-worker.mjs. */
  script?: object;
  timeouts?: Partial<Timeouts>;
  config?: Partial<HiveConfig>;
  workerPath?: string;
  /** The hive's clock, where time is to pass when the test says so. */
  clock?: Clock;
  /** A home that exists already, of a hive before this one. */
  home?: string;
  /** What its callers have to show. */
  key?: Secret;
  /** Text of the configuration file; without it there is none. */
  file?: string;
  /** Environment variables beside those that every such hive has, or in place of them. */
  variables?: Readonly<Record<string, string | undefined>>;
}

const SCRIPTED_WORKER = fileURLToPath(new URL('./scripted-worker.mjs', import.meta.url));
const HUB_CLIENT = {
  path: fileURLToPath(new URL('../src/hub/hub-client.ts', import.meta.url)),
  nodeArguments: READ_TYPESCRIPT,
};
const WAIT_MS = 10_000;
// Below the ports that the system hands out to outgoing connections.
let nextPort = 21_000 + (process.pid % 110) * 100;

/** A hive in this process, with a home and ports of its own, whose workers are real processes that follow a script. */
export class TestHive {
  private constructor(
    readonly home: string,
    readonly hive: Hive,
    readonly target: Target,
    /** First port of its workers. */
    readonly workerPort: number,
  ) {}

  static async start(options: TestHiveOptions = {}): Promise<TestHive> {
    const home = options.home ?? (await mkdtemp(join(tmpdir(), 'rbee-hive-')));
    const outside = processEnvironment();
    const keyFile = options.key && join(home, 'hive.key');
    if (options.key && keyFile) await writeFile(keyFile, options.key.reveal(), { mode: 0o600 });
    const variables = {
      ...{ PATH: outside.variables.PATH, HOME: home, RBEE_SILENT: '1', RBEE_LOG_LEVEL: 'debug' },
      RBEE_HIVE_TOKEN_FILE: keyFile,
      ...options.variables,
    };
    const environment = { ...outside, home, variables, clock: options.clock ?? outside.clock };
    if (options.file !== undefined) await writeConfigFile(home, options.file);
    const loaded = loadHiveConfig(environment, {});
    const workerPort = nextPort;
    nextPort += 10;
    const config = over(loaded, {
      port: 0,
      workerPortStart: workerPort,
      // Nothing listens there: no test reaches a hub that it has not started itself.
      hub: { ...loaded.hub, endpoint: 'http://127.0.0.1:1' },
      ...options.config,
      timeouts: over(loaded.timeouts, options.timeouts ?? {}),
    });
    const hive = await createHive(environment, config, {
      workerProgram: {
        path: options.workerPath ?? SCRIPTED_WORKER,
        arguments: ['--script', JSON.stringify(options.script ?? {})],
      },
      hubProgram: HUB_CLIENT,
      bundledModelsDir: BUNDLED_MODELS_DIR,
    });
    const target = { transport: httpTransport({ name: 'rbee-hive', url: hive.url }), clock: systemClock };
    const keyed = {
      ...target,
      get key() {
        return config.key?.current;
      },
    };
    return new TestHive(home, hive, keyed, workerPort);
  }

  /** Stops the hive; the home stays when it is needed again. */
  async stop(keepHome = false): Promise<void> {
    this.target.transport.close();
    await this.hive.stop('test ends');
    if (!keepHome) await rm(this.home, { recursive: true });
  }

  /** Writes another configuration file and has the hive read it. */
  async reload(file: string): Promise<void> {
    await writeConfigFile(this.home, file);
    this.hive.reload();
  }

  spawn(request: object = {}): Promise<SpawnAnswer> {
    const body = { model: 'builtin:honeycomb', backend: 'cpu', ...request };
    return callJson(this.target, hiveRoutes.spawnWorker, { body, correlationId: 'corr-1' });
  }

  async workers(): Promise<Worker[]> {
    return (await callJson(this.target, hiveRoutes.listWorkers)).workers;
  }

  worker(workerId: string) {
    return callJson(this.target, hiveRoutes.getWorker, { params: { worker_id: workerId } });
  }

  shutDownWorker(workerId: string) {
    return callJson(this.target, hiveRoutes.shutdownWorker, { params: { worker_id: workerId } });
  }

  /** Tells a scripted worker what to do. */
  async tell(worker: { url?: string | undefined }, body: object): Promise<void> {
    const response = await fetch(`${worker.url}/test`, { method: 'POST', body: JSON.stringify(body) });
    await response.text();
  }

  /** Everything that a start tells, to its terminal event. */
  async startEvents(workerId: string): Promise<WorkerStartEvent[]> {
    const params = { worker_id: workerId };
    const { messages } = await callStream(this.target, hiveRoutes.workerEvents, { params });
    const events: WorkerStartEvent[] = [];
    for await (const message of messages) events.push(workerStartEventSchema.parse(JSON.parse(message.data)));
    return events;
  }

  /** Waits until the list of workers is as wanted, woken by the hive's own events. */
  async until(wanted: (workers: Worker[]) => boolean): Promise<Worker[]> {
    const abort = new AbortController();
    const cancel = systemClock.after(WAIT_MS, () => abort.abort(new Error('the workers never became as wanted')));
    try {
      const { messages } = await callStream(this.target, hiveRoutes.events, { signal: abort.signal });
      for await (const message of messages) {
        hiveEventSchema.parse(JSON.parse(message.data));
        const workers = await this.workers();
        if (wanted(workers)) return workers;
      }
      throw new Error('the hive ended');
    } finally {
      cancel();
      abort.abort(new Error('done'));
    }
  }

  async ready(request: object = {}): Promise<SpawnAnswer> {
    const answer = await this.spawn(request);
    await this.startEvents(answer.worker_id);
    return answer;
  }
}

async function writeConfigFile(home: string, text: string): Promise<void> {
  const folder = join(home, '.config', 'rbee');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.toml'), text);
}

/** The same settings with some of them replaced; the others still change when they are read again. */
function over<T extends object>(settings: T, replaced: Partial<T>): T {
  return Object.create(settings, Object.getOwnPropertyDescriptors(replaced)) as T;
}

/** A key for a hive that needs one. */
export const TEST_KEY = new Secret('a-key-for-tests');
