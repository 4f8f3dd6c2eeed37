import { callJson, callStream, callText, type IncomingStream, type Target } from '@rbee/daemon-kit/client';
import { type GlobalWorker, queenRoutes, type TaskRequestInput } from '@rbee/protocol';

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

  /** Log lines as bytes, while they are written when `follow` is set, until `signal` is aborted. */
  logs(query: LogQuery, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { node, follow, lines, worker } = query;
    return callText(this.#options.target, queenRoutes.logs, {
      query: { node, follow: follow ? 'true' : 'false', lines, worker_id: worker },
      signal,
    });
  }

  /** Sends a task. The stream ends when `signal` is aborted, which cancels the task as well. */
  runTask(body: TaskRequestInput, correlationId: string, signal: AbortSignal): Promise<IncomingStream> {
    return callStream(this.#options.target, queenRoutes.runTask, { body, correlationId, signal });
  }

  /** Cancels a task; resolves when the queen has taken note, rejects when it does not within `timeoutMs`. */
  async cancelTask(jobId: string, correlationId: string, timeoutMs: number): Promise<void> {
    await callJson(this.#options.target, queenRoutes.cancelTask, {
      params: { job_id: jobId },
      correlationId,
      timeoutMs,
    });
  }
}
