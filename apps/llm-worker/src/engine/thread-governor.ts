import { median } from './choose-threads.js';

export interface GovernorOptions {
  /** Thread counts that may be used, ascending. */
  readonly counts: readonly number[];
  /** The count to start with, one of them. */
  readonly threads: number;
  /** Usual time of a step for one answer, from a measurement; left out: from the first steps. */
  readonly stepMs?: number | undefined;
}

/** Steps that are looked at together. */
const WINDOW = 8;
/** A step that takes this many times its usual time calls for fewer threads. */
const SLOW = 2;
const TRIAL_STEPS = 3;
/** A single step of a trial that is slower by this factor ends it. */
const HOPELESS = 1.5;
/** Another count is taken when it is faster by this factor. */
const WORTHWHILE = 1.05;
const FIRST_PROBE_MS = 10_000;
const LAST_PROBE_MS = 120_000;

interface Trial {
  readonly from: number;
  readonly fromMs: number;
}

/**
 * Watches the time of decode steps and gives up compute threads, or takes them back, while the machine is used by others: threads
 * that wait for one that a neighbour keeps from its core can be a hundred times slower than fewer threads would be.
 *
 * steady → (steps are slow) trial of smaller counts, until one is faster or none is left → steady; steady → (from time to time,
 * less often each time that it was in vain) trial of the next larger count → the better of the two.
 */
export class ThreadGovernor {
  readonly #counts: readonly number[];
  readonly #window = new Float64Array(WINDOW);
  #index: number;
  #filled = 0;
  #answers = 0;
  /** Usual time of a step, divided by the number of answers in it. */
  #usualMs: number | undefined;
  #trial: Trial | undefined;
  #waitMs = FIRST_PROBE_MS;
  #nextProbe: number | undefined;

  constructor({ counts, threads, stepMs }: GovernorOptions) {
    this.#counts = counts.includes(threads) ? counts : [threads];
    this.#index = this.#counts.indexOf(threads);
    this.#usualMs = stepMs;
  }

  /** The count that the next step should use. */
  get threads(): number {
    return this.#counts[this.#index] as number;
  }

  /** Learns from a step that generated one token for each of `answers`, and nothing else. `now` is a steady clock. */
  observe(ms: number, answers: number, now: number): void {
    if (this.#counts.length === 1) return;
    this.#nextProbe ??= now + this.#waitMs;
    if (answers !== this.#answers) {
      this.#startAnew(answers);
      return;
    }
    this.#window[this.#filled++] = ms;
    if (this.#trial) this.#judgeTrial(this.#trial, ms, now);
    else if (this.#filled === WINDOW || this.#isFarTooSlow()) this.#judgeWindow(now);
  }

  /** A few steps are enough when each of them is out of all proportion. */
  #isFarTooSlow(): boolean {
    if (this.#filled !== TRIAL_STEPS || this.#usualMs === undefined) return false;
    const limit = 2 * SLOW * this.#usualMs * this.#answers;
    return this.#window.subarray(0, TRIAL_STEPS).every((ms) => ms > limit);
  }

  /** Steps of another size can't be compared with those before. */
  #startAnew(answers: number): void {
    this.#answers = answers;
    this.#filled = 0;
    if (this.#trial) this.#index = this.#trial.from;
    this.#trial = undefined;
  }

  #judgeWindow(now: number): void {
    const ms = this.#takeMedian();
    this.#usualMs ??= ms / this.#answers;
    if (ms > SLOW * this.#usualMs * this.#answers && this.#index > 0) this.#try(this.#index - 1, ms);
    else if (now >= (this.#nextProbe ?? 0) && this.#index < this.#counts.length - 1) this.#try(this.#index + 1, ms);
  }

  #try(index: number, fromMs: number): void {
    this.#trial = { from: this.#index, fromMs };
    this.#index = index;
  }

  #judgeTrial(trial: Trial, ms: number, now: number): void {
    const hopeless = ms > trial.fromMs * HOPELESS;
    if (!hopeless && this.#filled < TRIAL_STEPS) return;
    const tried = this.#takeMedian();
    const better = !hopeless && tried * WORTHWHILE < trial.fromMs;
    const down = this.#index < trial.from;
    if (down && !better && !hopeless && this.#index > 0) {
      this.#index--;
      return;
    }
    this.#trial = undefined;
    if (!better) this.#index = trial.from;
    this.#waitMs = better || down ? FIRST_PROBE_MS : Math.min(this.#waitMs * 2, LAST_PROBE_MS);
    this.#nextProbe = now + this.#waitMs;
    if (better || down) this.#usualMs = (better ? tried : trial.fromMs) / this.#answers;
    if (better && down && this.#index > 0) this.#try(this.#index - 1, tried);
  }

  #takeMedian(): number {
    const ms = median([...this.#window.subarray(0, this.#filled)]);
    this.#filled = 0;
    return ms;
  }
}
