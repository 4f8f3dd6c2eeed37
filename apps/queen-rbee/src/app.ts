import { dirname, join } from 'node:path';
import {
  announceKey,
  type Clock,
  createNarrator,
  identify,
  type Logger,
  listen,
  makeStateFolder,
  Releasers,
  type Running,
  type ServiceKey,
  serve,
  userPaths,
} from '@rbee/daemon-kit';
import { queenRoutes, RbeeError } from '@rbee/protocol';
import type { QueenSettings } from './config.js';
import type { RunCopy } from './copy/copy-job.js';
import { filesSender } from './copy/send-files.js';
import { TaskJournal } from './journal/task-journal.js';
import { Leases } from './lease/leases.js';
import type { HiveCommand } from './link/hive-process.js';
import { LocalHiveKey } from './link/local-hive-key.js';
import { LocalLink } from './link/local-link.js';
import { StartedHiveRecord } from './link/started-hive-record.js';
import { ModelSupply } from './models/model-supply.js';
import { LiveNode } from './node/live-node.js';
import { Nodes } from './node/nodes.js';
import { openRegisteredNodes } from './node/registered-nodes.js';
import { lookAtNodes } from './placement/look-at-nodes.js';
import { TaskQueue } from './queue/task-queue.js';
import { watchStale } from './reported/watch-stale.js';
import { WorkerReports } from './reported/worker-reports.js';
import { queenHandlers } from './routes.js';
import { TaskRunner } from './task/task-runner.js';
import { Tasks } from './task/tasks.js';
import { WorkerStarter } from './worker/worker-starter.js';
import { WorkerStarts } from './worker/worker-starts.js';

export interface QueenParts {
  /** Read when they are needed: some of them change while the queen runs. */
  readonly settings: QueenSettings;
  /** What callers have to show; `undefined`: nothing. */
  readonly key: ServiceKey | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pid: number;
  /** Home folder and name of the user that the queen runs as. */
  readonly home: string;
  readonly user: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Program that runs a hive, and the arguments in front of the hive's own. */
  readonly hiveProgram: { readonly command: string; readonly args: readonly string[] };
  /** Does the copies of models between nodes. */
  readonly runCopy: RunCopy;
}

/** A queen that runs. */
export interface Queen extends Running {
  readonly url: string;
  readonly port: number;
  /** Goes by the settings that count now. */
  noteSettings(): void;
  /** Has the hive of this machine read its configuration again, if it is this queen's own. */
  reloadHive(): void;
}

/** Builds every part and binds the port. Throws CONFIG_INVALID when the port or the log folder cannot be used. */
export async function startQueen(parts: QueenParts): Promise<Queen> {
  const { settings, key, clock, log, pid, variables, home } = parts;
  const { timeouts, ephemeral } = settings;
  announceKey(log, settings.host, key);
  makeStateFolder(settings.logDir);

  const shutdown = new AbortController();
  const stateFolder = userPaths({ home, variables }).state;
  const hiveKey = new LocalHiveKey({ configured: settings.hiveTokenFile, stateFolder });
  const { hivePort } = settings;
  const record = new StartedHiveRecord(
    join(dirname(settings.database), 'run', `queen-hive-${hivePort}.json`),
    identify(pid) ?? { pid, startTime: undefined },
  );
  const hiveCommand = toHiveCommand(parts, hiveKey);
  const link = new LocalLink({ clock, log, timeouts, hivePort, hiveKey, record, hiveCommand });
  const onChange = () => queue.settle();
  const local = new LiveNode({ link, log, timeouts, variables, onChange });
  const nodes = new Nodes(local, log);
  const registered = await openRegisteredNodes({ ...parts, nodes, hiveKey, onChange });
  const send = filesSender({ settings, hiveKey, registry: registered.routes.registry, run: parts.runCopy });
  const supply = new ModelSupply({ clock, log, timeouts, variables, nodes, send });
  const starter = new WorkerStarter({
    ...{ clock, log, timeouts, supply, signal: shutdown.signal },
    mayWaitForRoom: ({ name }, wanted) => {
      const others = nodes.all().filter((other) => other.name !== name && other.standing.status === 'reachable');
      const elsewhere = wanted.node === undefined && others.some((other) => !wanted.excludedNodes?.has(other.name));
      return !elsewhere && !variables.RBEE_NO_RETRY;
    },
  });
  const starts = new WorkerStarts(starter);
  const queue = new TaskQueue({
    clock,
    get queueLength() {
      return settings.queueLength;
    },
    get ageingMs() {
      return timeouts.batch_ageing;
    },
    look: (usage) => lookAtNodes({ nodes, starts }, usage),
    hasWorker: (id) => nodes.findByWorker(id) !== undefined,
  });
  const runner = new TaskRunner({ clock, timeouts, variables, nodes, queue, starts });
  const journal = await TaskJournal.open({ file: join(dirname(settings.database), 'tasks.db'), clock, log });
  const tasks = new Tasks({ clock, log, timeouts, nodes, runner, journal, onIdle: () => leases.reconsider() });
  const leases = new Leases({
    clock,
    log,
    ephemeral,
    get keepAliveMs() {
      return settings.keepAlive;
    },
    startGraceMs: settings.startGrace,
    tasksRunning: () => tasks.size,
    onUnused: () => end('the last client has gone'),
  });
  const reports = new WorkerReports(clock, {
    nodeOf: (id) => nodes.findByWorker(id)?.name,
    note: (id, change) => nodes.findByWorker(id)?.noteWorker(id, change) ?? false,
  });
  const staleWatch = watchStale({
    ...{ clock, log, timeouts, nodes, reports },
    jobsOf: (id) => queue.usage(id).inFlight,
  });
  const handlers = queenHandlers({
    ...registered.routes,
    clock,
    timeouts,
    log,
    pid,
    ephemeral,
    nodes,
    supply,
    tasks,
    leases,
    reports,
    starts,
    usage: (id) => queue.usage(id),
    get keepAliveMs() {
      return settings.keepAlive;
    },
  });
  const app = serve(queenRoutes, handlers, {
    service: 'queen-rbee',
    clock,
    log,
    get key() {
      return key?.current;
    },
    bodyLimit: settings.bodyBytes,
  });

  const releasers = new Releasers(log);
  const narrate = createNarrator({ service: 'queen-rbee', clock, log, deliver: () => undefined });
  releasers.add('node registry', () => registered.close());
  releasers.add('stale watch', () => staleWatch.close());
  releasers.add('connections', () => allSettled(nodes.all().map((node) => node.link.close())));
  releasers.add('hives', () => allSettled(nodes.all().map((node) => node.stopHive(narrate))));
  releasers.add('nodes', () => nodes.close());
  releasers.add('leases', () => leases.close('the queen is shutting down'));
  releasers.add('models', () => supply.close());
  releasers.add('worker starts', () => {
    shutdown.abort(new RbeeError('CANCELLED', 'the queen is shutting down'));
    return starts.settled();
  });
  releasers.add('journal', () => journal.close());
  releasers.add('tasks', () => tasks.close());

  let listening: Awaited<ReturnType<typeof listen>>;
  try {
    tasks.recover();
    listening = await listen('queen-rbee', app, settings, { log });
  } catch (error) {
    leases.refuse();
    await tasks.close();
    await journal.close();
    throw error;
  }
  tasks.begin();

  let settle: (code: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => {
    settle = resolve;
  });
  let stopping: Promise<void> | undefined;
  const stop = (reason: string): Promise<void> => {
    stopping ??= (async () => {
      narrate({ actor: 'queen-rbee', action: 'shutdown', target: listening.url, human: `shutting down: ${reason}` });
      leases.refuse();
      await releasers.releaseAll();
      // Last, so that whoever asks meanwhile learns that this queen is ending.
      await listening.close();
      narrate({ actor: 'queen-rbee', action: 'shutdown', target: listening.url, human: 'shut down' });
      settle(0);
    })();
    return stopping;
  };
  function end(reason: string): void {
    stop(reason).catch((error: unknown) => {
      log.error({ error }, 'shutdown failed');
      settle(1);
    });
  }
  const noteSettings = () => {
    leases.reconsider();
    staleWatch.rearm();
    tasks.rearm();
    queue.settle();
  };
  const reloadHive = () => link.reloadHive();
  return { url: listening.url, port: listening.port, stop, ended, noteSettings, reloadHive };
}

/** Waits for all of them; then throws the first failure, if there is one. */
async function allSettled(works: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(works);
  await Promise.all(works);
}

function toHiveCommand({ settings, variables, hiveProgram }: QueenParts, hiveKey: LocalHiveKey): HiveCommand {
  // Credentials that the service manager gave are the queen's own.
  const { CREDENTIALS_DIRECTORY: _, ...rest } = variables;
  const config = settings.configFile === undefined ? [] : ['--config', settings.configFile];
  return {
    command: hiveProgram.command,
    args: [...hiveProgram.args, 'daemon', '--port', String(settings.hivePort), '--owned', ...config],
    variables: { ...rest, RBEE_HIVE_TOKEN_FILE: hiveKey.file },
    outputFile: join(settings.logDir, 'rbee-hive.out.log'),
    cleanUpArgs: ({ pid, startTime = '' }) => [
      ...hiveProgram.args,
      'stop',
      '--pid',
      String(pid),
      '--start-time',
      startTime,
    ],
  };
}
