import { RbeeError } from '@rbee/protocol';
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
  /** Its step is no usual one: nothing is learned from the time of a step that it takes part in. */
  readonly unusual?: boolean;
  /** Evaluates up to `tokens` of the prompt, or generates one token. Never rejects: a failure makes it `done`. */
  step(tokens: number): Promise<void>;
  /** The loop itself has failed, and there will be no further step. */
  abandon(reason: RbeeError): void;
}

export interface DecodeLoopOptions {
  readonly pacer: ChunkPacer;
  /** Steady clock in milliseconds. */
  readonly now: () => number;
  /** Hears of each step that generated tokens and nothing else. */
  readonly onDecoded: (ms: number, answers: number) => void;
  /** The loop has failed for a reason that no member is to blame for. All members were abandoned, and later ones will be. */
  readonly onBroken?: (error: RbeeError) => void;
}

/**
 * The one place that drives the engine. All generations move in common steps: each step is one batch with one token of every
 * answer and a piece of each new prompt. Who joins or leaves does so between two steps. Left to themselves, the engine's
 * generators fall out of step, and a batch holds only some of them.
 */
export class DecodeLoop {
  readonly #options: DecodeLoopOptions;
  readonly #members: Member[] = [];
  readonly #steps: Promise<void>[] = [];
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #stepStart: number | undefined;
  #broken: RbeeError | undefined;

  constructor(options: DecodeLoopOptions) {
    this.#options = options;
  }

  /** Since when the engine has been at its current step, by the steady clock; undefined while it waits for work or for readers. */
  get stepStart(): number | undefined {
    return this.#stepStart;
  }

  add(member: Member): void {
    if (this.#broken) {
      member.abandon(this.#broken);
      return;
    }
    this.#members.push(member);
    this.wake();
    this.#running ??= this.#run().catch((error: unknown) => this.#break(error));
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
      let unusual = false;
      for (const member of this.#members) {
        if (!member.ready) continue;
        this.#steps.push(member.step(shares?.get(member) ?? 0));
        unusual ||= member.unusual === true;
      }
      if (this.#steps.length === 0) await this.#nextWake();
      else await this.#settle(shares, unusual);
      for (let index = this.#members.length - 1; index >= 0; index--) {
        if (this.#members[index]?.done) this.#members.splice(index, 1);
      }
    }
    this.#running = undefined;
  }

  #plan(prompts: readonly Member[]): Map<Member, number> {
    const { pacer } = this.#options;
    const generating = this.#members.length - prompts.length;
    const [first] = prompts;
    const size = prompts.length === 1 && first?.exact ? pacer.exactSize : pacer.size;
    const shares = shareBudget(
      Math.min(size, MAX_CHUNK - generating),
      prompts.map((member) => member.promptLeft),
    );
    return new Map(prompts.map((member, index) => [member, shares[index] ?? 1]));
  }

  async #settle(shares: ReadonlyMap<Member, number> | undefined, unusual: boolean): Promise<void> {
    const { now, onDecoded, pacer } = this.#options;
    const start = now();
    this.#stepStart = start;
    const first = this.#steps[0];
    if (this.#steps.length === 1) await first;
    else await Promise.all(this.#steps);
    this.#stepStart = undefined;
    if (unusual) return;
    const ms = now() - start;
    if (!shares) {
      onDecoded(ms, this.#steps.length);
      return;
    }
    let tokens = this.#steps.length - shares.size;
    for (const share of shares.values()) tokens += share;
    pacer.observe(tokens, ms);
  }

  /** Without its loop the engine would look healthy and do nothing, so everybody who waits is told, and the owner too. */
  #break(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#broken = new RbeeError('INFERENCE_FAILED', `the engine has stopped working: ${why}`, { cause });
    this.#stepStart = undefined;
    this.#running = undefined;
    for (const member of this.#members.splice(0)) member.abandon(this.#broken);
    this.#options.onBroken?.(this.#broken);
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
