/** How often a task is placed anew without a token in between; each time something has changed under its feet. */
const MOST_PLACEMENTS = 20;
/** How many workers a task may lose before its first token without the client noticing. */
const MOST_EARLY_LOSSES = 1;
/** How many hives, or connections to them, it may lose before that: each time another one was started, and was lost as well. */
const MOST_HIVE_LOSSES = 5;
/** How many it may lose in a row without getting on, and how many tokens getting on is. */
const MOST_FRUITLESS_LOSSES = 2;
const PROGRESS_TOKENS = 8;
/** How many it may lose in all. */
const MOST_LOSSES = 16;

/** Counts what a task has been through, so that one that ends every worker that it meets does not end them all. */
export class Attempts {
  readonly #mayRetry: boolean;
  #placements = 0;
  #placedAt = 0;
  #losses = 0;
  #fruitless = 0;
  #lostAt = 0;
  #hiveLosses = 0;
  #hiveLostAt = 0;

  /** Without `mayRetry` the first loss is the last. */
  constructor(mayRetry: boolean) {
    this.#mayRetry = mayRetry;
  }

  /** How many workers it has lost. */
  get losses(): number {
    return this.#losses;
  }

  /** Counts a placement; false when there were too many since the last token. */
  place(tokensOut: number): boolean {
    if (tokensOut > this.#placedAt) this.#placements = 0;
    this.#placedAt = tokensOut;
    return ++this.#placements <= MOST_PLACEMENTS;
  }

  /** How many hives it has lost since it last got on. */
  get hiveLosses(): number {
    return this.#hiveLosses;
  }

  /** Counts a hive that was lost before it had given the task a worker; false when there were too many since the last token. */
  loseHive(tokensOut: number): boolean {
    if (tokensOut > this.#hiveLostAt) this.#hiveLosses = 0;
    this.#hiveLostAt = tokensOut;
    return ++this.#hiveLosses <= MOST_HIVE_LOSSES && this.#mayRetry;
  }

  /** Counts a worker that was lost; false when no other may be risked. */
  lose(tokensOut: number): boolean {
    const gotOn = tokensOut - this.#lostAt >= PROGRESS_TOKENS;
    this.#fruitless = gotOn ? 0 : this.#fruitless + 1;
    this.#lostAt = tokensOut;
    this.#losses++;
    const mostFruitless = tokensOut === 0 ? MOST_EARLY_LOSSES : MOST_FRUITLESS_LOSSES;
    return this.#mayRetry && this.#fruitless <= mostFruitless && this.#losses <= MOST_LOSSES;
  }
}
