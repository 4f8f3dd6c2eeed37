import { type EventStream, type Listening, listen, Reply, serve, silentLogger, systemClock } from '@rbee/daemon-kit';
import { type GlobalWorker, queenRoutes, RbeeError, type TaskEvent, type TaskRequest, VERSION } from '@rbee/protocol';
import { ScriptedModels } from './scripted-models.js';
import { ScriptedNodes } from './scripted-nodes.js';
import { ScriptedStarts } from './scripted-starts.js';
import { ScriptedTasks } from './scripted-tasks.js';

/** Answers one task: sends its events, ends the stream or throws. */
export type TaskScript = (task: TaskRequest, stream: EventStream<TaskEvent>, signal: AbortSignal) => Promise<void>;

/** A real HTTP server that answers as a persistent queen does, and remembers what it was asked. */
export class ScriptedQueen {
  readonly nodes = new ScriptedNodes();
  readonly models = new ScriptedModels();
  readonly kept = new ScriptedTasks(() => this.cut());
  readonly starts = new ScriptedStarts();
  readonly tasks: TaskRequest[] = [];
  readonly correlationIds: string[] = [];
  readonly canceled: string[] = [];
  /** Leases that are held now, and how many were given back. */
  readonly leases = new Set<string>();
  released = 0;
  workers: GlobalWorker[] = [];
  log = 'one\ntwo\n';
  /** Keeps the log open, as following does. */
  followsLog = false;
  shutDown: string[] = [];
  version = VERSION;
  /** The process that it says to be; another one stands for a queen that was started anew. */
  pid = process.pid;
  /** Whether it says that it ends with its last lease. */
  ephemeral = false;
  /** Answers no question about its health. */
  deaf = false;
  /** How many such questions it has answered. */
  probes = 0;
  /** Answers no cancellation. */
  mute = false;
  script: TaskScript = tellStory;
  #listening: Listening | undefined;

  static async start(): Promise<ScriptedQueen> {
    const queen = new ScriptedQueen();
    await queen.#open();
    return queen;
  }

  get url(): string {
    return this.#listening?.url ?? '';
  }

  /** Resolves when nobody has a lease. */
  async whenUnleased(): Promise<void> {
    while (this.leases.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Cuts every connection, as a crash does. */
  cut(): void {
    this.#listening?.server.closeAllConnections();
  }

  /** Is gone until `rise`, as an operator's queen is that is started anew. */
  async fall(): Promise<void> {
    this.cut();
    await this.#listening?.close(0);
  }

  async rise(): Promise<void> {
    await this.#open(this.#listening?.port);
  }

  async stop(): Promise<void> {
    await this.fall();
  }

  async #open(port = 0): Promise<void> {
    const app = serve(
      queenRoutes,
      {
        health: async ({ signal }) => {
          if (this.deaf) await new Promise((resolve) => signal.addEventListener('abort', resolve));
          this.probes++;
          return { status: 'ok' as const, version: this.version, pid: this.pid };
        },
        runTask: async (call, stream) => {
          this.tasks.push(call.body);
          this.correlationIds.push(call.correlationId);
          stream.open();
          await this.script(call.body, stream, call.signal);
        },
        cancelTask: async ({ params, signal }) => {
          this.canceled.push(params.job_id);
          if (this.mute) await new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
        ...this.kept.handlers,
        ...this.starts.handlers,
        registerWorker: async () => {
          throw new RbeeError('NOT_FOUND', 'no hive reports here');
        },
        reportReady: async () => {
          throw new RbeeError('NOT_FOUND', 'no hive reports here');
        },
        changeWorker: async () => {
          throw new RbeeError('NOT_FOUND', 'no hive reports here');
        },
        forgetWorker: async () => {
          throw new RbeeError('NOT_FOUND', 'no hive reports here');
        },
        beatWorker: async () => {
          throw new RbeeError('NOT_FOUND', 'no hive reports here');
        },
        listWorkers: async () => ({ workers: this.workers }),
        workersHealth: async ({ query }) => {
          if (query.node === 'attic')
            throw new RbeeError('NODE_NOT_FOUND', 'there is no node attic', { details: { node: 'attic' } });
          return {
            status: 'ok' as const,
            workers: this.workers.map(({ worker_id, state }) => ({ worker_id, state, ready: state === 'idle' })),
          };
        },
        shutdownWorker: async ({ body }) => {
          this.shutDown.push(body.worker_id);
          return new Reply({ success: true as const, message: 'told' }, 200);
        },
        ...this.nodes.handlers,
        ...this.models.handlers,
        logs: async (call, stream) => {
          stream.write(this.log);
          if (this.followsLog) await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
        },
        lease: async (call, stream) => {
          const id = `lease-${this.leases.size + this.released}`;
          this.leases.add(id);
          stream.send({
            type: 'leased',
            lease_id: id,
            version: this.version,
            pid: this.pid,
            ephemeral: this.ephemeral,
          });
          await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
          this.leases.delete(id);
          throw call.signal.reason;
        },
        releaseLease: async ({ params }) => {
          this.leases.delete(params.lease_id);
          this.released++;
          return { ending: false };
        },
      },
      { clock: systemClock, log: silentLogger },
    );
    this.#listening = await listen('queen-rbee', app, { host: '127.0.0.1', port });
  }
}

const STORY = ['Once', ' upon', ' a', ' time', '.'];

/** A task that goes well: narration, progress, five tokens, an end. */
const tellStory: TaskScript = async (task, stream) => {
  const job_id = task.job_id ?? 'job';
  stream.send({ type: 'accepted', job_id, correlation_id: 'c', node: 'localhost', model: task.model });
  stream.send({
    type: 'narration',
    actor: 'rbee-hive',
    action: 'worker_start',
    target: 'w',
    human: 'starting a worker',
  });
  stream.send({ type: 'progress', phase: 'load', layers_loaded: 12, layers_total: 32 });
  stream.send({ type: 'worker', worker_id: 'worker-1', node: 'localhost', url: 'u', state: 'idle', reused: false });
  stream.send({ type: 'started', job_id, model: task.model, started_at: '2030-01-01T00:00:00Z' });
  for (const [i, t] of STORY.entries()) stream.send({ type: 'token', t, i, ids: [i] });
  stream.send(endEvent(STORY.length));
};

/** The events of an answer, from its acceptance to its end. */
export function answerOf(texts: readonly string[]): TaskEvent[] {
  return [
    { type: 'accepted', job_id: 'job', correlation_id: 'c', node: 'localhost', model: 'm' },
    { type: 'narration', actor: 'rbee-hive', action: 'worker_start', target: 'w', human: 'starting a worker' },
    { type: 'started', job_id: 'job', model: 'm', started_at: '2030-01-01T00:00:00Z' },
    ...texts.map((t, i): TaskEvent => ({ type: 'token', t, i, ids: [i] })),
    endEvent(texts.length),
  ];
}

/** Serves the task that the queen keeps. */
export function serveKept(queen: ScriptedQueen): TaskScript {
  return (_task, stream) => queen.kept.send(stream);
}

/** The end of an answer of so many tokens. */
export function endEvent(tokens: number): Extract<TaskEvent, { type: 'end' }> {
  return {
    type: 'end',
    tokens_out: tokens,
    decode_time_ms: 1234,
    stop_reason: 'EOS',
    prompt_tokens: 9,
    cached_tokens: 0,
  };
}

/** A task that sends two tokens and then nothing, until it is canceled or cut. */
export const hangAfterTwoTokens: TaskScript = async (_task, stream, signal) => {
  stream.send({ type: 'token', t: 'Once', i: 0, ids: [1] });
  stream.send({ type: 'token', t: ' upon', i: 1, ids: [2] });
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  throw signal.reason;
};
