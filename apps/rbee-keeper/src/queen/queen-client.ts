import { callJson, callStream, callText, type IncomingStream, type Target } from '@rbee/daemon-kit/client';
import {
  type AddNodeInput,
  type BodyInputOf,
  type GlobalWorker,
  type HiveStatus,
  type NodeAnswer,
  type NodeModels,
  type NodeRemoval,
  type NodeRow,
  type NodeScan,
  type NodeVariants,
  type PullRequest,
  queenRoutes,
  type Route,
  type TaskDetail,
  type TaskRequestInput,
  type TaskState,
  type TaskSummary,
  type UpdateNodeInput,
  type Worker,
} from '@rbee/protocol';

interface ClientOptions {
  readonly target: Target;
  /** Longest time to the whole of an answer that is no stream. */
  readonly timeoutMs: number;
  /** Aborted when the user gives up. */
  readonly signal: AbortSignal;
}

/** Which log lines are wanted; left out: the queen's defaults. */
export interface LogQuery {
  readonly node: string;
  readonly follow: boolean;
  readonly lines: number | undefined;
  readonly worker: string | undefined;
}

/** What a worker gets that is started ahead of any task. */
export type SpawnWorkerInput = BodyInputOf<typeof queenRoutes.spawnWorker>;

/** What opens the stream of a task. */
export interface StreamCall {
  readonly correlationId: string;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** An open stream of a queen that lives shows it every few seconds. */
const SILENCE_MS = 60_000;

/** The requests that commands make of a queen. Each throws the queen's coded error. */
export class QueenClient {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get target(): Target {
    return this.#options.target;
  }

  /** The workers of one node, or of all. */
  async listWorkers(node?: string): Promise<readonly GlobalWorker[]> {
    const { target, timeoutMs, signal } = this.#options;
    return (await callJson(target, queenRoutes.listWorkers, { query: { node }, timeoutMs, signal })).workers;
  }

  /** Readiness of the workers of one node, or of all. */
  workersHealth(node?: string) {
    const { target, timeoutMs, signal } = this.#options;
    return callJson(target, queenRoutes.workersHealth, { query: { node }, timeoutMs, signal });
  }

  /** Asks for the end of one worker; resolves when it was told. */
  shutdownWorker(workerId: string) {
    const { target, timeoutMs, signal } = this.#options;
    return callJson(target, queenRoutes.shutdownWorker, { body: { worker_id: workerId }, timeoutMs, signal });
  }

  /** Starts a worker ahead of any task; queenSpawnEventSchema has what the stream tells. */
  spawnWorker(body: SpawnWorkerInput): Promise<IncomingStream> {
    return this.#stream(queenRoutes.spawnWorker, body);
  }

  /** Keeps a worker loaded, or no longer. */
  pinWorker(workerId: string, pinned: boolean): Promise<Worker> {
    const { target, timeoutMs, signal } = this.#options;
    return callJson(target, queenRoutes.pinWorker, { body: { worker_id: workerId, pinned }, timeoutMs, signal });
  }

  /** Log lines as bytes, while they are written when `follow` is set, until `signal` is aborted. */
  logs(query: LogQuery, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { node, follow, lines, worker } = query;
    return callText(this.#options.target, queenRoutes.logs, {
      query: { node, follow: follow ? 'true' : 'false', lines, worker_id: worker },
      signal,
    });
  }

  /**
   * Sends a task, or attaches to the one that was sent with the same id. Resolves with the status line, for which `timeoutMs` are
   * given. The stream ends when `signal` is aborted, which cancels the task as well unless it is to be kept.
   */
  runTask(body: TaskRequestInput, { correlationId, signal, timeoutMs }: StreamCall): Promise<IncomingStream> {
    return callStream(this.#options.target, queenRoutes.runTask, { body, correlationId, signal, timeoutMs });
  }

  /** Attaches to a task: its events from the beginning, or behind the one with the id `lastEventId`. Otherwise as `runTask`. */
  taskEvents(
    jobId: string,
    lastEventId: string | undefined,
    { correlationId, signal, timeoutMs }: StreamCall,
  ): Promise<IncomingStream> {
    return callStream(this.#options.target, queenRoutes.taskEvents, {
      params: { job_id: jobId },
      lastEventId,
      correlationId,
      signal,
      timeoutMs,
    });
  }

  /** The tasks that the queen has, or those in one state; the ended ones of the last minutes too. */
  async listTasks(state?: TaskState): Promise<readonly TaskSummary[]> {
    const { target, timeoutMs, signal } = this.#options;
    return (await callJson(target, queenRoutes.listTasks, { query: { state }, timeoutMs, signal })).tasks;
  }

  /** One task with the text that has come so far. */
  showTask(jobId: string): Promise<TaskDetail> {
    const { target, timeoutMs, signal } = this.#options;
    return callJson(target, queenRoutes.showTask, { params: { job_id: jobId }, timeoutMs, signal });
  }

  /** Cancels a task; resolves when the queen has taken note, rejects when it does not within `timeoutMs`. */
  async cancelTask(jobId: string, correlationId: string, timeoutMs: number): Promise<void> {
    await callJson(this.#options.target, queenRoutes.cancelTask, {
      params: { job_id: jobId },
      correlationId,
      timeoutMs,
    });
  }

  /** Registers a node; nodeEventSchema has what the stream tells. It ends, and the addition with it, when the user gives up. */
  addNode(body: AddNodeInput): Promise<IncomingStream> {
    return this.#stream(queenRoutes.addNode, body);
  }

  /** Changes a node; as `addNode`. */
  updateNode(body: UpdateNodeInput): Promise<IncomingStream> {
    return this.#stream(queenRoutes.updateNode, body);
  }

  /** Installs rbee on a node; installEventSchema has what the stream tells. */
  installNode(node: string, service: boolean): Promise<IncomingStream> {
    return this.#stream(queenRoutes.installNode, { node_name: node, service });
  }

  /** Starts or ends the hive of a node; hiveCommandEventSchema has what the stream tells. */
  commandHive(what: 'startHive' | 'stopHive', node: string): Promise<IncomingStream> {
    return this.#stream(queenRoutes[what], { node });
  }

  /** The registered nodes by name. */
  async listNodes(): Promise<readonly NodeRow[]> {
    const { target, timeoutMs, signal } = this.#options;
    return (await callJson(target, queenRoutes.listNodes, { timeoutMs, signal })).nodes;
  }

  /** Forgets a node; what runs there is let go first, which may take as long as its hive takes to end. */
  removeNode(node: string): Promise<NodeAnswer> {
    const { target, signal } = this.#options;
    return callJson(target, queenRoutes.removeNode, { body: { node_name: node }, signal });
  }

  /** The hives of one node, or of all, as the queen sees them now. */
  async listHives(node?: string): Promise<readonly HiveStatus[]> {
    const { target, timeoutMs, signal } = this.#options;
    return (await callJson(target, queenRoutes.listHives, { query: { node }, timeoutMs, signal })).hives;
  }

  /** The models of one node, whose hive is started where it does not run, or of this machine and all running hives. */
  listModels(node?: string): Promise<NodeModels> {
    const { target, signal } = this.#options;
    return callJson(target, queenRoutes.listModels, { query: { node }, signal });
  }

  /** Brings a model to a node; pullEventSchema has what the stream tells. It is cancelled when the user gives up. */
  pullModel(body: PullRequest): Promise<IncomingStream> {
    return this.#stream(queenRoutes.pullModel, body);
  }

  /** Looks through the folders of models of a node; takes as long as reading new files does. */
  scanModels(node?: string): Promise<NodeScan> {
    const { target, signal } = this.#options;
    return callJson(target, queenRoutes.scanModels, { body: { node }, signal });
  }

  /** What a repository of the hub offers. */
  modelVariants(model: string, node?: string): Promise<NodeVariants> {
    const { target, signal } = this.#options;
    return callJson(target, queenRoutes.modelVariants, { query: { model, node }, signal });
  }

  /** Removes the model with an id from a node. */
  removeModel(id: string, node?: string): Promise<NodeRemoval> {
    const { target, signal } = this.#options;
    return callJson(target, queenRoutes.removeModel, { params: { id }, query: { node }, signal });
  }

  #stream<R extends Route>(route: R, body: BodyInputOf<R>): Promise<IncomingStream> {
    const { target, signal } = this.#options;
    return callStream(target, route, { body, signal, silenceMs: SILENCE_MS });
  }
}
