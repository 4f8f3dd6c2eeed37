import type { TaskEvent } from '@rbee/protocol';

/** Place of an event: which queen in the life of the task sent it, and its number among the events of that queen. */
interface Place {
  readonly run: number;
  readonly n: number;
}

/**
 * How far a task has been followed, over any number of connections. Tokens are told apart by their own index, which is the same
 * whichever queen and worker they came from; all other events by their ids, `<run>-<n>`.
 */
export class TaskCursor {
  #place: Place | undefined;
  #lastId: string | undefined;
  #tokens = 0;
  #events = 0;
  #isFresh = true;

  /** Id behind which the next connection goes on; `undefined`: from the beginning. */
  get lastEventId(): string | undefined {
    return this.#lastId;
  }

  /** Token events that were handled. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Events that were handled, over all. */
  get events(): number {
    return this.#events;
  }

  /** Whether no event of the task was handled since it began. */
  get isFresh(): boolean {
    return this.#isFresh;
  }

  /** Whether an event is the next one, was handled already, or comes where others are missing. */
  judge(event: TaskEvent, id: string | undefined): 'next' | 'seen' | 'gap' {
    if (event.type === 'token') {
      if (event.i === this.#tokens) return 'next';
      return event.i < this.#tokens ? 'seen' : 'gap';
    }
    // Nothing follows an end: one that comes was not handled before.
    if (event.type === 'end' || event.type === 'error') return 'next';
    const place = readPlace(id);
    return place && this.#place && !isBehind(place, this.#place) ? 'seen' : 'next';
  }

  /** Takes note of an event that was handled. */
  note(event: TaskEvent, id: string | undefined): void {
    this.#events++;
    this.#isFresh = false;
    if (event.type === 'token') this.#tokens = event.i + 1;
    const place = readPlace(id);
    if (!place || (this.#place && !isBehind(place, this.#place))) return;
    this.#place = place;
    this.#lastId = id;
  }

  /** The next connection begins at the beginning; what was handled stays so. */
  rewind(): void {
    this.#lastId = undefined;
  }

  /** The task begins anew before its first token: none of its events was handled. */
  restart(): void {
    this.rewind();
    this.#place = undefined;
    this.#isFresh = true;
  }
}

function readPlace(id: string | undefined): Place | undefined {
  const [, run, n] = /^(\d{1,15})-(\d{1,15})$/.exec(id ?? '') ?? [];
  return run === undefined || n === undefined ? undefined : { run: Number(run), n: Number(n) };
}

function isBehind(place: Place, other: Place): boolean {
  return place.run === other.run ? place.n > other.n : place.run > other.run;
}
