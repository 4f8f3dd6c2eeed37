import type { ChunkPacer } from './chunk-pacer.js';
import { MAX_CHUNK, shareBudget } from './chunk-size.js';

/** A generation as the loop sees it. */
export interface Member {
  /** Tokens of its prompt that are still to be evaluated; 0 while it generates. */
  readonly promptLeft: number;
  /** Its prompt must always be cut in the same way, so that a repeat gives the same sums. */
  readonly exact: boolean;
  /** False while its reader is behind. */
  readonly ready: boolean;
  readonly done: boolean;
  /** Evaluates up to `tokens` of the prompt, or generates one token. Never rejects: a failure makes it `done`. */
  step(tokens: number): Promise<void>;
}

/**
 * The one place that drives the engine. All generations move in common steps: each step is one batch with one token of every
 * answer and a piece of each new prompt. Who joins or leaves does so between two steps. Left to themselves, the engine's
 * generators fall out of step, and a batch holds only some of them.
 */
export class DecodeLoop {
  readonly #pacer: ChunkPacer;
  readonly #now: () => number;
  readonly #onDecoded: (ms: number, answers: number) => void;
  readonly #members: Member[] = [];
  readonly #steps: Promise<void>[] = [];
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  /** `now` is a steady clock in milliseconds; `onDecoded` hears of each step that generated tokens and nothing else. */
  constructor(pacer: ChunkPacer, now: () => number, onDecoded: (ms: number, answers: number) => void) {
    this.#pacer = pacer;
    this.#now = now;
    this.#onDecoded = onDecoded;
  }

  add(member: Member): void {
    this.#members.push(member);
    this.wake();
    this.#running ??= this.#run();
  }

  /** Tells the loop that a member became ready or wants to end. */
  wake(): void {
    this.#wake?.();
  }

  /** Resolves when no member is left. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#members.length > 0) {
      const prompts = this.#members.filter((member) => member.ready && member.promptLeft > 0);
      const shares = prompts.length === 0 ? undefined : this.#plan(prompts);
      this.#steps.length = 0;
      for (const member of this.#members) {
        if (member.ready) this.#steps.push(member.step(shares?.get(member) ?? 0));
      }
      if (this.#steps.length === 0) await this.#nextWake();
      else await this.#settle(shares);
      for (let index = this.#members.length - 1; index >= 0; index--) {
        if (this.#members[index]?.done) this.#members.splice(index, 1);
      }
    }
    this.#running = undefined;
  }

  #plan(prompts: readonly Member[]): Map<Member, number> {
    const generating = this.#members.length - prompts.length;
    const [first] = prompts;
    const size = prompts.length === 1 && first?.exact ? this.#pacer.exactSize : this.#pacer.size;
    const shares = shareBudget(
      Math.min(size, MAX_CHUNK - generating),
      prompts.map((member) => member.promptLeft),
    );
    return new Map(prompts.map((member, index) => [member, shares[index] ?? 1]));
  }

  async #settle(shares: ReadonlyMap<Member, number> | undefined): Promise<void> {
    const start = this.#now();
    const first = this.#steps[0];
    if (this.#steps.length === 1) await first;
    else await Promise.all(this.#steps);
    const ms = this.#now() - start;
    if (!shares) {
      this.#onDecoded(ms, this.#steps.length);
      return;
    }
    let tokens = this.#steps.length - shares.size;
    for (const share of shares.values()) tokens += share;
    this.#pacer.observe(tokens, ms);
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
