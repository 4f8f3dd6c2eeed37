import type { Clock } from '@rbee/daemon-kit';
import { type HiveEvent, type RbeeError, toErrorEvent, type WorkerStartEvent } from '@rbee/protocol';
import { EventLog } from '../events/event-log.js';
import { defer } from './deferred.js';
import type { WorkerClient } from './worker-client.js';

const KEPT_EVENTS = 500;

/** The way of a worker from its process to its readiness: who waits for it, until when, and what they hear meanwhile. */
export class WorkerStart {
  /** Everything since the beginning, for whoever asks; ends with one terminal event. */
  readonly journal = new EventLog<WorkerStartEvent>(KEPT_EVENTS);
  /** How far the model is loaded, as last heard. */
  layers: { loaded: number; total: number } | undefined;
  private readonly calledBack = defer<void>();
  private readonly following = new AbortController();
  private cancelDeadline: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  /** Resolves at the first callback; rejects when the start failed before. */
  get reachable(): Promise<void> {
    return this.calledBack.promise;
  }

  /** What the worker's narration adds to the journal. */
  hear(event: HiveEvent & { type: 'narration' }): void {
    this.journal.append(event);
  }

  /** Bounds the present phase; the bound of the one before is lifted. */
  expectWithin(ms: number, onLate: () => void): void {
    this.cancelDeadline?.();
    this.cancelDeadline = this.clock.after(ms, onLate);
  }

  /** The first callback has come. */
  reached(): void {
    this.calledBack.resolve();
  }

  /** Follows the load until it ends one way or the other. */
  followLoad(client: WorkerClient): Promise<void> {
    return client.followLoad({
      signal: this.following.signal,
      onProgress: ({ stage, layers_loaded, layers_total, vram_mb }) => {
        this.layers = { loaded: layers_loaded, total: layers_total };
        this.journal.append({ type: 'progress', phase: 'load', stage, layers_loaded, layers_total, vram_mb });
      },
    });
  }

  succeed(event: WorkerStartEvent & { type: 'end' }): void {
    this.end(event);
  }

  /** Tells everybody who still waits; nothing happens when the start has ended already. */
  fail(error: RbeeError): void {
    this.calledBack.reject(error);
    this.end(toErrorEvent(error));
  }

  private end(event: WorkerStartEvent): void {
    this.cancelDeadline?.();
    this.following.abort();
    this.journal.append(event);
    this.journal.close();
  }
}
