import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Priority, RbeeError } from '@rbee/protocol';
import { toView } from '../../node/node-state.js';
import { Placer } from '../../placement/place-task.js';
import type { NodeView, PendingStart, Wanted, WorkerUsage, WorkerView } from '../../placement/snapshot.js';
import { type Candidate, type QueuePosition, type Seat, TaskQueue, type TaskQueueOptions } from '../task-queue.js';

/** Nodes that are there whatever runs on them. */
const NODES = ['n', 'm'];

type BenchWorker = Parameters<typeof toView>[0] & { readonly node: string };

export interface TestTask extends Candidate {
  wanted: Wanted;
  readonly positions: number[];
  readonly etas: (number | undefined)[];
  readonly reasons: string[];
  /** Where it stands: what came of its last call of `seat`. */
  outcome: 'none' | 'waiting' | 'seated' | 'anew' | string;
  seat: Seat | undefined;
  readonly end: () => void;
  readonly abort: AbortController;
}

/** A queue over nodes that a test makes up, with real placement. */
export class QueueBench {
  readonly clock = new ManualClock(0);
  readonly workers = new Map<string, BenchWorker>();
  #views: NodeView[] | undefined;
  readonly starting: PendingStart[] = [];
  readonly queue: TaskQueue;
  /** How often the nodes were looked at. */
  looks = 0;
  #tickets = 0;

  constructor(options: Partial<Pick<TaskQueueOptions, 'queueLength' | 'ageingMs'>> = {}) {
    this.queue = new TaskQueue({
      clock: this.clock,
      queueLength: 100,
      ageingMs: 30_000,
      ...options,
      look: (usage) => {
        this.looks++;
        this.#views ??= this.#view(usage);
        return new Placer(this.#views);
      },
      hasWorker: (id) => this.workers.has(id),
    });
  }

  /** Adds a worker, or changes one, as if its hive had told of it. */
  worker(worker_id: string, slots_total: number, fields: Partial<BenchWorker> = {}): void {
    this.add(worker_id, slots_total, fields);
    this.queue.settle();
  }

  /** The same, without a word to the queue. */
  add(worker_id: string, slots_total: number, fields: Partial<BenchWorker> = {}): void {
    const usual = { model_ref: 'hf:org/m', state: 'idle', slots_available: slots_total, node: 'n' } as const;
    this.workers.set(worker_id, { backend: 'cpu', device: 0, ...usual, worker_id, slots_total, ...fields });
    this.#views = undefined;
  }

  loseWorker(id: string): void {
    this.workers.delete(id);
    this.#views = undefined;
    this.queue.settle();
  }

  task(client = 'a', fields: Partial<Wanted> & { priority?: Priority; deadline?: number } = {}): TestTask {
    const { priority = 'interactive', deadline, ...wanted } = fields;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const abort = new AbortController();
    return {
      client,
      request: { priority },
      ticket: ++this.#tickets,
      wanted: { model: 'hf:org/m', backend: 'cpu', ...wanted },
      deadline,
      signal: abort.signal,
      ended,
      end,
      abort,
      positions: [],
      etas: [],
      reasons: [],
      outcome: 'none',
      seat: undefined,
    };
  }

  /** Lets a task wait for its seat, without waiting for that. */
  wait(task: TestTask, timeoutMs = 300_000): void {
    task.outcome = 'waiting';
    const onPosition = ({ position, etaMs, reason }: QueuePosition) => {
      task.positions.push(position);
      task.etas.push(etaMs);
      task.reasons.push(reason);
    };
    this.queue.seat(task, { timeoutMs, onPosition }).then(
      (seat) => {
        task.seat = seat;
        task.outcome = seat ? 'seated' : 'anew';
      },
      (error: RbeeError) => {
        task.outcome = error.code;
      },
    );
  }

  /** Admits a task and lets it wait. */
  async come(...given: Parameters<QueueBench['task']>): Promise<TestTask> {
    const task = this.task(...given);
    this.queue.admit(task);
    this.wait(task);
    await this.turn();
    return task;
  }

  /** Ends a task's job. */
  async finish(task: TestTask): Promise<void> {
    task.seat?.lease.release();
    task.seat = undefined;
    task.end();
    await this.turn();
  }

  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  #view(usage: (workerId: string) => WorkerUsage): NodeView[] {
    const byNode = new Map<string, WorkerView[]>(NODES.map((name) => [name, []]));
    for (const worker of this.workers.values()) {
      const view = toView(worker, usage);
      const others = byNode.get(worker.node);
      if (others) others.push(view);
      else byNode.set(worker.node, [view]);
    }
    return [...byNode].map(([name, workers]) => ({
      name,
      workers,
      link: 'ssh',
      hiveUp: true,
      trouble: undefined,
      models: [],
      backends: [{ name: 'cpu', available: true, devices: 1 }],
      resources: undefined,
      starting: this.starting,
    }));
  }
}
