import type { EventStream } from '@rbee/daemon-kit';
import { encodeEvent, RbeeError, type TaskDetail, type TaskEvent, type TaskSummary } from '@rbee/protocol';

/** What happens to one connection to a task: after how many of its events it is cut, and how. */
export interface Cut {
  readonly after: number;
  /** Half of the next event still goes out. */
  readonly half?: boolean;
  /** A new queen has the task afterwards: its events are counted anew. */
  readonly restart?: boolean;
}

/**
 * The tasks of a scripted queen. One that is `keep`t has all its events from the start: each connection gets those that it lacks,
 * up to the next cut.
 */
export class ScriptedTasks {
  /** What `GET /v2/tasks` lists. */
  summaries: TaskSummary[] = [];
  /** What came of each attachment: the id behind which it began. */
  readonly attached: (string | undefined)[] = [];
  /** Called instead of an answer to an attachment. */
  onAttach: ((stream: EventStream<TaskEvent>, signal: AbortSignal) => Promise<void>) | undefined;
  #events: readonly TaskEvent[] | undefined;
  #cuts: Cut[] = [];
  #run = 1;
  readonly #cutAll: () => void;

  constructor(cutAll: () => void) {
    this.#cutAll = cutAll;
  }

  /** Has a task with these events; the connections to it are cut in turn. */
  keep(events: readonly TaskEvent[], cuts: readonly Cut[] = []): void {
    this.#events = events;
    this.#cuts = [...cuts];
    this.#run = 1;
  }

  /** Forgets the task, as a queen does whose journal is lost. */
  forget(): void {
    this.#events = undefined;
  }

  /** Sends the events behind an id, up to the next cut. */
  async send(stream: EventStream<TaskEvent>, lastEventId?: string): Promise<void> {
    const events = this.#events ?? [];
    const cut = this.#cuts.shift();
    const from = this.#positionOf(lastEventId);
    const end = cut ? Math.min(from + cut.after, events.length) : events.length;
    stream.open();
    for (let index = from; index < end; index++) stream.send(events[index] as TaskEvent, this.#idOf(index));
    if (!cut) return;
    const next = events[end];
    if (cut.half && next && end < events.length) stream.sendFrame(encodeEvent(next, this.#idOf(end)).slice(0, -9));
    // What was written goes out before the end of the connection.
    await new Promise((resolve) => setImmediate(resolve));
    if (cut.restart) this.#run++;
    this.#cutAll();
    await new Promise(() => undefined);
  }

  readonly handlers = {
    listTasks: async ({ query }: { query: { state?: string | undefined } }) => ({
      tasks: this.summaries.filter(({ state }) => query.state === undefined || state === query.state),
    }),
    showTask: async ({ params }: { params: { job_id: string } }): Promise<TaskDetail> => {
      const found = this.summaries.find(({ job_id }) => job_id === params.job_id);
      if (!found) throw unknownTask(params.job_id);
      const texts = (this.#events ?? []).map((event) => (event.type === 'token' ? event.t : ''));
      return { ...found, text: texts.join('') };
    },
    taskEvents: async (
      call: { params: { job_id: string }; headers: Readonly<Record<string, unknown>>; signal: AbortSignal },
      stream: EventStream<TaskEvent>,
    ): Promise<void> => {
      const lastEventId = call.headers['last-event-id'] as string | undefined;
      this.attached.push(lastEventId);
      if (this.onAttach) return this.onAttach(stream, call.signal);
      if (!this.#events) throw unknownTask(call.params.job_id);
      await this.send(stream, lastEventId);
    },
  };

  /** Ids begin anew with each run: those of an earlier one mean the beginning. */
  #positionOf(id: string | undefined): number {
    const [run, n] = (id ?? '').split('-').map(Number);
    return run === this.#run && n !== undefined ? n : 0;
  }

  #idOf(index: number): string {
    return `${this.#run}-${index + 1}`;
  }
}

function unknownTask(job_id: string): RbeeError {
  return new RbeeError('NOT_FOUND', `there is no task ${job_id}`, {
    details: { job_id },
    suggestion: 'see which tasks there are: rbee-keeper tasks list',
  });
}
