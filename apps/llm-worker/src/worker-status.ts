import type { Logger } from '@rbee/daemon-kit';
import { type MemoryFigures, RbeeError, type ReadyStatus } from '@rbee/protocol';
import type { Engine } from './engine/engine.js';

type Phase = 'loading' | 'serving' | 'draining' | 'error';
/** Whether the worker entered another phase of its life, or only took or ended a job. */
type Change = 'phase' | 'slots';

/**
 * loading → serving → draining, or loading → error. While it serves, a worker is `busy` when no slot is free, else `idle`.
 * Whoever listens hears of each change of the state and of the free slots.
 */
export class WorkerStatus {
  readonly #log: Logger;
  readonly #slots: number;
  readonly #listeners: ((what: Change) => void)[] = [];
  #phase: Phase = 'loading';
  #engine: Engine | undefined;
  #failure: RbeeError | undefined;

  /** `slots` is what was asked for, until the engine has them. */
  constructor(slots: number, log: Logger) {
    this.#slots = slots;
    this.#log = log;
  }

  get state(): ReadyStatus['state'] {
    if (this.#phase !== 'serving') return this.#phase;
    return this.slotsAvailable === 0 ? 'busy' : 'idle';
  }

  get failure(): RbeeError | undefined {
    return this.#failure;
  }

  get slotsTotal(): number {
    return this.#engine?.slotsTotal ?? this.#slots;
  }

  get slotsAvailable(): number {
    return this.#phase === 'serving' ? (this.#engine?.slotsFree ?? 0) : 0;
  }

  get vramBytes(): number {
    return this.#engine?.vramBytes ?? 0;
  }

  get memory(): MemoryFigures | undefined {
    return this.#engine?.memory;
  }

  get threads(): number | undefined {
    return this.#engine?.threads;
  }

  /** For how long the engine has been at its current step, in milliseconds. */
  get stepMs(): number | undefined {
    return this.#engine?.stepMs;
  }

  /** The engine, for a job. Throws WORKER_NOT_READY or WORKER_DRAINING. */
  requireEngine(): Engine {
    if (this.#phase === 'serving' && this.#engine) return this.#engine;
    const details = { state: this.state };
    if (this.#phase === 'draining') {
      throw new RbeeError('WORKER_DRAINING', 'the worker is shutting down (state draining)', {
        details,
        suggestion: 'send the job to another worker',
      });
    }
    throw new RbeeError('WORKER_NOT_READY', `the worker has no model (state ${this.state})`, {
      details,
      retryable: this.#phase === 'loading',
      suggestion: this.#phase === 'loading' ? 'wait until GET /v1/ready says ready' : 'look into the worker log',
    });
  }

  loaded(engine: Engine): void {
    this.#engine = engine;
    if (this.#phase === 'loading') this.#set('serving');
  }

  failed(failure: RbeeError): void {
    this.#failure = failure;
    this.#set('error');
  }

  drain(): void {
    this.#set('draining');
  }

  /** The number of free slots has changed. */
  slotsChanged(): void {
    this.#tell('slots');
  }

  onChange(listener: (what: Change) => void): void {
    this.#listeners.push(listener);
  }

  #tell(what: Change): void {
    for (const listener of this.#listeners) listener(what);
  }

  #set(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#log.info({ from: this.#phase, to: phase }, `the worker is ${phase}`);
    this.#phase = phase;
    this.#tell('phase');
  }
}
