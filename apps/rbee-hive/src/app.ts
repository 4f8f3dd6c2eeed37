import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import {
  announceKey,
  createLogger,
  createNarrator,
  type Environment,
  everyLive,
  identify,
  LogFile,
  type Logger,
  listen,
  makeStateFolder,
  Releasers,
  type Running,
  serve,
  tellLoad,
  terminalLog,
} from '@rbee/daemon-kit';
import { formatModelRef, type HiveEvent, hiveRoutes, type MemoryFigures, VERSION } from '@rbee/protocol';
import { HUB_FOLDER, registerHubModel } from './catalog/hub-models.js';
import { openCatalog } from './catalog/open-catalog.js';
import { removeModel } from './catalog/remove-model.js';
import type { HiveConfig } from './config.js';
import { Downloads } from './downloads/downloads.js';
import { HiveFeed } from './events/hive-feed.js';
import { ResourceWatch } from './events/resource-watch.js';
import { HiveRecords } from './hive-records.js';
import { HubProcess } from './hub/hub-process.js';
import { INSTALLATION_ROOT, THIS_INSTALLATION } from './installation.js';
import { LogReader } from './logs/log-reader.js';
import { toUrl } from './loopback.js';
import { HiveMetrics } from './metrics/hive-metrics.js';
import { OwnerWatch } from './owner-watch.js';
import { writePidFile } from './pid-file.js';
import { MachineProbe } from './probe/machine-probe.js';
import { BYTES_PER_MB, toResources } from './probe/snapshot.js';
import { Provisioner } from './provisioning/provisioner.js';
import { hiveHandlers } from './routes.js';
import { ModelScans } from './scan/model-scans.js';
import { scanModels } from './scan/scan-models.js';
import { adoptWorkers } from './workers/adopt-workers.js';
import { cleanWorkerLogs } from './workers/clean-worker-logs.js';
import { CrashRecords } from './workers/crash-records.js';
import { defer } from './workers/deferred.js';
import { MemoryKills } from './workers/memory-kills.js';
import { reapLeftovers } from './workers/reap-leftovers.js';
import { RunFiles } from './workers/run-files.js';
import type { Worker } from './workers/worker.js';
import { WorkerLauncher } from './workers/worker-launcher.js';
import { WorkerPool } from './workers/worker-pool.js';
import { holdersOf, WorkerPreflight } from './workers/worker-preflight.js';
import { type WorkerProgram, workerLogFile } from './workers/worker-process.js';
import { WorkerRestarts } from './workers/worker-restarts.js';

/** What an installation fixes. Nothing that a user or a caller sets reaches it. */
export interface HiveInstallation {
  readonly workerProgram: WorkerProgram;
  /** The program that speaks to the hub. */
  readonly hubProgram: WorkerProgram;
  /** Folder with the model files that come with rbee. */
  readonly bundledModelsDir: string;
}

export interface Hive extends Running {
  /** Address that the hive listens on. */
  readonly url: string;
  readonly port: number;
  readonly log: Logger;
  /** Reads configuration and key again, and begins a log file that was renamed anew. A mistake is told, and nothing changes. */
  reload(): void;
}

const SERVICE = 'rbee-hive';
/** A hive must be there soon; a worker that needs longer to answer is not taken over. */
const LONGEST_ADOPTION_MS = 3_000;
/** Calls that say nothing about the queen: workers make them, or anybody may. */
const NOT_THE_QUEEN: ReadonlySet<string> = new Set(['health', 'workerReady', 'heartbeat']);

/**
 * Builds a hive and starts it. Throws CONFIG_INVALID when the port is taken or a folder can't be written; whatever was
 * acquired until then is given back.
 */
export async function createHive(
  environment: Environment,
  config: HiveConfig,
  installation: HiveInstallation = THIS_INSTALLATION,
): Promise<Hive> {
  for (const folder of [config.logDir, config.runDir, config.modelsDir]) makeStateFolder(folder);
  const logFile = new LogFile(join(config.logDir, `${SERVICE}.log`));
  const log = createLogger({
    service: SERVICE,
    level: () => config.logLevel,
    destinations: config.silent ? [logFile] : [terminalLog(environment.stderr), logFile],
  });
  const releasers = new Releasers(log);
  releasers.add('log file', () => logFile.close());
  releasers.add('key', () => config.key?.close());
  try {
    return await startHive(environment, config, installation, { log, logFile, releasers });
  } catch (error) {
    // The terminal gets the error from whoever started the hive, without its stack.
    const fileOnly = createLogger({ service: SERVICE, level: config.logLevel, destinations: [logFile] });
    fileOnly.error({ error, action: 'startup_failed' }, 'the hive could not start');
    await releasers.releaseAll();
    throw error;
  }
}

interface Acquired {
  readonly log: Logger;
  readonly logFile: LogFile;
  readonly releasers: Releasers;
}

async function startHive(
  environment: Environment,
  config: HiveConfig,
  installation: HiveInstallation,
  { log, logFile, releasers }: Acquired,
): Promise<Hive> {
  const { clock, platform, variables } = environment;
  const { timeouts, logDir } = config;
  const self = identify(process.pid) ?? { pid: process.pid, startTime: undefined };
  const probe = new MachineProbe({ platform, modelsDir: config.modelsDir, probeFile: config.probeFile });
  if (probe.simulated) {
    await probe.snapshot();
    log.warn({ file: config.probeFile }, 'figures of this machine are simulated: RBEE_PROBE_FILE is set');
  }
  const feed: HiveFeed = new HiveFeed(randomBytes(4).toString('hex'), async () => {
    const snapshot = await probe.snapshot();
    const { backends } = snapshot;
    const resources = toResources(snapshot);
    resourceWatch.told(resources);
    return {
      type: 'snapshot',
      version: VERSION,
      pid: self.pid,
      workers: pool.list(),
      warnings: [...warnings],
      models: opened.known(),
      backends: [...backends],
      resources,
    };
  });
  const resourceWatch = new ResourceWatch({
    ...{ clock, log },
    read: async () => toResources(await probe.quickSnapshot()),
    isHeard: () => feed.listeners > 0,
    publish: (resources) => feed.publish({ type: 'resources', resources }),
  });
  releasers.add('resource watch', () => resourceWatch.stop());
  const warnings: string[] = [];
  const warn = (text: string) => {
    warnings.push(text);
    feed.publish({ type: 'warning', text });
  };
  const narrate = createNarrator({ service: SERVICE, clock, log, deliver: (event) => feed.publish(event) });
  tellLoad(config.live.loaded, { service: SERVICE, log, narrate });
  announceKey(log, config.host, config.key);
  const metrics = new HiveMetrics();
  const opened = await openCatalog({
    ...{ clock, log },
    narrate: (spoken) => {
      // Nobody may be listening yet, and what has become of the catalog stays worth knowing.
      if (spoken.level === 'warn') warn(spoken.human);
      narrate(spoken);
    },
    file: config.catalogDb,
    bundledModelsDir: installation.bundledModelsDir,
    onChange: (change, model) => {
      if (change === 'removed') metrics.forgetModel(model.model_ref);
      feed.publish({ type: 'model', change, model });
    },
    onMade: (replaced) => {
      if (replaced !== undefined || existsSync(join(config.modelsDir, HUB_FOLDER))) scanInBackground();
    },
  });
  releasers.add('model catalog', () => opened.close());
  const { catalog } = opened;
  const downloads: Downloads = new Downloads({
    ...{ clock, log, timeouts, variables, narrate },
    hub: new HubProcess({
      ...{ clock, variables },
      hub: config.hub,
      program: installation.hubProgram,
      get silenceMs() {
        return timeouts.download_stall;
      },
    }),
    modelsDir: config.modelsDir,
    get maxActive() {
      return config.maxDownloads;
    },
    get bytesPerSecond() {
      return config.downloadBytesPerSecond;
    },
    freeBytes: async () => (await probe.quickSnapshot()).disk.availableMb * BYTES_PER_MB,
    find: (ref) => catalog.find(ref),
    register: (complete) => registerHubModel(catalog, complete, Math.floor(clock.now() / 1000)),
    onEnd: (end) => metrics.noteDownload(end),
  });
  const scans = new ModelScans((signal) =>
    scanModels({
      ...{ catalog, clock, signal },
      modelsDir: config.modelsDir,
      roots: config.modelRoots,
      isFetched: (ref) => downloads.active().some(({ model_ref }) => model_ref === formatModelRef(ref)),
    }),
  );
  /** A new catalog does not know the models that are there already. */
  function scanInBackground(): void {
    // Behind the opening, which must not wait for what it makes possible.
    setImmediate(() =>
      scans.scan().catch((error: unknown) => log.warn({ error }, 'the models folder could not be looked through')),
    );
  }

  const records = new HiveRecords(join(config.runDir, 'hives'));
  const runFiles = new RunFiles(join(config.runDir, 'workers'));
  let url = '';
  const publish = (event: HiveEvent) => feed.publish(event);
  const onMemory = (worker: Worker, figures: MemoryFigures) => {
    const { model } = worker;
    if (model === undefined) return;
    metrics.noteUsed(model.model_ref, figures);
    catalog.noteMemoryUsed(model.id, figures).catch((error: unknown) => {
      log.warn({ error, model_ref: model.model_ref }, 'the memory of a model could not be noted');
    });
  };
  const restarts: WorkerRestarts = new WorkerRestarts({
    ...{ clock, log },
    get waitMs() {
      return timeouts.restart_wait;
    },
    get enabled() {
      return config.restartWorkers;
    },
    random: () => (variables.RBEE_NO_JITTER ? 0.5 : Math.random()),
    spawn: (request, correlationId) => launcher.spawn(request, correlationId),
    find: (id) => pool.find(id),
  });
  const pool: WorkerPool = new WorkerPool({
    ...{ clock, log, timeouts, narrate, publish, runFiles, onMemory },
    hive: self,
    installation: INSTALLATION_ROOT,
    noteProcess: (process) => records.write(process),
    crashes: new CrashRecords(logDir, log),
    memoryKills: new MemoryKills(),
    onLost: (worker, loss) => restarts.take(worker, loss),
  });
  probe.simulateHolders(() => holdersOf(pool.present));
  const preflight = new WorkerPreflight(pool, probe, {
    get defaultSlots() {
      return config.slotsPerWorker;
    },
    onEstimate: (model, figures) => metrics.noteEstimate(model.model_ref, figures),
  });
  metrics.watchWorkers(() => pool.list());
  const provisioner = new Provisioner({
    ...{ catalog, downloads, clock },
    roots: config.modelRoots,
    checkWorker: (modelRef, sizeBytes, worker) => preflight.checkBeforeItComes(modelRef, sizeBytes, worker),
  });
  const adopted = defer<void>();
  const leftoversReaped = adopted.promise
    .then(() => reapLeftovers(runFiles, clock, timeouts.kill, log))
    .catch((error: unknown) => log.error({ error }, 'workers of an earlier hive could not be ended'));
  const launcher: WorkerLauncher = new WorkerLauncher({
    ...{ clock, log, timeouts, publish, pool, probe, runFiles, logDir, variables, leftoversReaped },
    provisioner,
    preflight,
    workerProgram: installation.workerProgram,
    workerHost: config.workerHost,
    firstPort: config.workerPortStart,
    callbackUrl: () => url,
    get maxWorkers() {
      return config.maxWorkers;
    },
    get defaultSlots() {
      return config.slotsPerWorker;
    },
  });

  const stopping = new AbortController();
  const ending = endingOf(async (reason) => {
    narrate({ actor: SERVICE, action: 'shutdown', target: url, human: `shutting down (${reason})` });
    restarts.close();
    await launcher.close();
    await Promise.all([pool.close(), downloads.close(), scans.close()]);
    feed.close(reason);
    stopping.abort();
    await releasers.releaseAll();
  });
  const owner = config.owned
    ? new OwnerWatch({
        clock,
        get silenceMs() {
          return timeouts.owner_lost;
        },
        isConnected: () => feed.listeners > 0,
        onLost: () => {
          log.warn({ silence_ms: timeouts.owner_lost }, 'no contact with the queen that started this hive: ending');
          ending.stop('no contact with the queen').catch((error: unknown) => log.error({ error }, 'shutdown failed'));
        },
      })
    : undefined;
  releasers.add('owner watch', () => owner?.stop());
  const handlers = hiveHandlers({
    ...{ pool, launcher, restarts, catalog, downloads, provisioner, scans, metrics, probe, feed },
    remove: (id) => removeModel({ catalog, modelsDir: config.modelsDir, inUse: (model) => pool.usersOf(model) }, id),
    logs: new LogReader(logDir, join(logDir, `${SERVICE}.log`), clock),
    get key() {
      return config.key?.current;
    },
    workerProgram: installation.workerProgram.path,
    pid: self.pid,
    stopping: stopping.signal,
  });
  const app = serve(hiveRoutes, handlers, {
    clock,
    log,
    get key() {
      return config.key?.current;
    },
    workerKeys: () => pool.keys(),
    service: SERVICE,
    bodyLimit: config.bodyLimit,
    get keepAliveMs() {
      return timeouts.keep_alive;
    },
    onCall: (route) => {
      if (!NOT_THE_QUEEN.has(route)) owner?.contact();
    },
  });
  // The port comes first: a hive that does not get it must not take over what belongs to the one that did. Whoever asks
  // meanwhile waits, and so sees the workers that were taken over; one that calls back is one of them.
  const answer: RequestListener = (request, response) => {
    void adopted.promise.then(() => app(request, response));
  };
  const server = await listen(SERVICE, answer, { host: config.host, port: config.port });
  releasers.add('HTTP server', () => server.close());
  url = toUrl(config.host, server.port);
  releasers.add('workers', () => pool.release());
  await adoptWorkers({
    ...{ clock, log, pool, preflight, logDir },
    files: runFiles,
    hive: self,
    answerMs: Math.min(timeouts.health_call, LONGEST_ADOPTION_MS),
    findModel: (id) => catalog.get(id),
  });
  adopted.resolve();
  cleanWorkerLogs(logDir, clock, new Set(pool.present.map(({ id }) => workerLogFile(logDir, id)))).catch(
    (error: unknown) => log.warn({ error }, 'old logs of workers could not be removed'),
  );
  releasers.add('pid file', writePidFile(join(config.runDir, `${SERVICE}.pid`), self.pid));
  releasers.add('hive record', records.write({ ...self, installation: INSTALLATION_ROOT }));
  const healthChecks = everyLive(
    clock,
    () => timeouts.health_poll,
    () => pool.checkHealth().catch((error: unknown) => log.error({ error }, 'health checks failed')),
  );
  releasers.add('health checks', () => healthChecks.stop());
  const canaries = everyLive(
    clock,
    () => timeouts.canary,
    () => pool.checkEngines().catch((error: unknown) => log.error({ error }, 'canaries failed')),
  );
  releasers.add('canaries', () => canaries.stop());
  const forgetChanges = config.live.onChanged(() => {
    healthChecks.rearm();
    canaries.rearm();
    owner?.rearm();
    downloads.limitsChanged();
  });
  releasers.add('changes of the configuration', forgetChanges);
  narrate({
    actor: SERVICE,
    action: 'startup',
    target: server.url,
    human: `rbee-hive ${VERSION} listens on ${server.url}`,
  });
  const reload = () => {
    logFile.reopen();
    const report = config.live.reload();
    tellLoad(report, { service: SERVICE, log, narrate });
    if (!report.error) config.key?.reload(log);
  };
  return { url: server.url, port: server.port, log, reload, stop: ending.stop, ended: ending.ended };
}

/** Runs a shutdown once; whoever asks again waits for the same one. */
function endingOf(shutDown: (reason: string) => Promise<void>): Running {
  let stopped: Promise<void> | undefined;
  let settle: (code: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => {
    settle = resolve;
  });
  return {
    ended,
    stop(reason) {
      stopped ??= shutDown(reason).finally(() => settle(0));
      return stopped;
    },
  };
}
