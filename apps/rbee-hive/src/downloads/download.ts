import { randomUUID } from 'node:crypto';
import { type DownloadProgress, type Model, type ModelSource, RbeeError } from '@rbee/protocol';
import { EventLog } from '../events/event-log.js';
import { defer } from '../workers/deferred.js';

const KEPT_EVENTS = 100;

/**
 * One model that is on its way: who needs it, and what whoever follows hears. It goes
 * `waiting → downloading ⇄ retrying → verifying → complete`, and from anywhere to `error`; what does the work is elsewhere.
 */
export class Download {
  readonly id = randomUUID();
  private readonly events = new EventLog<DownloadProgress>(KEPT_EVENTS);
  private readonly outcome = defer<Model>();
  private readonly unneeded = new AbortController();
  private readonly lent: (() => void)[] = [];
  private holders = 0;
  private newest: DownloadProgress | undefined;

  constructor(
    /** With its variant. */
    readonly modelRef: string,
    readonly source: ModelSource,
  ) {}

  /** The model once it is in the catalog; rejects with what stood in the way, or CANCELLED. */
  get done(): Promise<Model> {
    return this.outcome.promise;
  }

  /** Resolves when it has ended, one way or the other. */
  get settled(): Promise<void> {
    return this.done.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Aborted when it shall end early. */
  get signal(): AbortSignal {
    return this.unneeded.signal;
  }

  /** Whether the terminal event has gone out. */
  get ended(): boolean {
    return this.events.closed;
  }

  get progress(): DownloadProgress | undefined {
    return this.newest;
  }

  /** The newest event, then all that follow, up to the terminal one. Throws the signal's reason. */
  async *follow(signal: AbortSignal): AsyncGenerator<DownloadProgress, void, undefined> {
    for (let next = Math.max(1, this.events.nextSeq - 1); ; ) {
      // Who is so slow that events are no longer kept goes on with the newest.
      const entries = this.events.since(next) ?? this.events.since(this.events.nextSeq - 1) ?? [];
      for (const { seq, event } of entries) {
        next = seq + 1;
        yield event;
      }
      if (entries.length > 0) continue;
      if (this.events.closed) return;
      await this.events.changed(signal);
    }
  }

  /** Needs it until the returned function is called. When nobody needs it any more it ends, and keeps what it has. */
  hold(): () => void {
    this.holders++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.holders--;
      if (this.holders === 0) this.cancel(`nobody needs ${this.modelRef} any more`);
    };
  }

  /** Gives a hold to a caller that can only name the download. */
  lend(release: () => void): void {
    this.lent.push(release);
  }

  /** Ends one of the holds that were lent. */
  takeBack(): void {
    this.lent.shift()?.();
  }

  cancel(why: string): void {
    if (this.ended || this.signal.aborted) return;
    this.unneeded.abort(
      new RbeeError('CANCELLED', `the download of ${this.modelRef} was stopped: ${why}`, {
        details: { model: this.modelRef },
        suggestion: 'repeat the command to go on: what has come is kept',
      }),
    );
  }

  tell(event: DownloadProgress): void {
    if (this.ended) return;
    this.newest = event;
    this.events.append(event);
  }

  complete(model: Model): void {
    this.end({ stage: 'complete', local_path: model.local_path });
    this.outcome.resolve(model);
  }

  fail(error: RbeeError): void {
    const { code, message, suggestion } = error;
    const details = suggestion === undefined ? error.details : { ...error.details, suggestion };
    this.end({ stage: 'error', code, message, details });
    this.outcome.reject(error);
  }

  private end(event: DownloadProgress): void {
    this.tell(event);
    this.events.close();
  }
}
