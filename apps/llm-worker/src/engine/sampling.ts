import { randomInt } from 'node:crypto';
import type { SequenceEvaluateOptions, Token } from 'node-llama-cpp';

/** How the next token is chosen. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 1 is off. */
  readonly topP: number;
  /** 0 is off. */
  readonly topK: number;
  /** 0 is off. */
  readonly minP: number;
  /** Applies to the last 64 generated tokens; 1 is off. */
  readonly repetitionPenalty: number;
  /** 32 bits; left out: a random one for each request. */
  readonly seed?: number | undefined;
}

export const GREEDY: Sampling = { temperature: 0, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 };

const PENALIZED_TOKENS = 64;
/** llama.cpp takes this seed to mean "choose one yourself", so no request may run with it. */
const ENGINE_CHOOSES = 0xffffffff;

/** The seed a request runs with. */
export function toSeed(given: number | undefined): number {
  if (given === undefined) return randomInt(ENGINE_CHOOSES);
  const seed = given >>> 0;
  return seed === ENGINE_CHOOSES ? ENGINE_CHOOSES - 1 : seed;
}

/** The generated tokens that the repetition penalty looks at. */
export class RecentTokens {
  readonly #tokens: Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens.slice(-PENALIZED_TOKENS);
  }

  push(token: Token): void {
    this.#tokens.push(token);
    if (this.#tokens.length > PENALIZED_TOKENS) this.#tokens.shift();
  }

  readonly list = (): Token[] => this.#tokens;
}

/** The engine's options for a request. */
export function toEvaluateOptions(sampling: Sampling, recent: RecentTokens): SequenceEvaluateOptions {
  const { temperature, topP, topK, minP, repetitionPenalty } = sampling;
  return {
    temperature,
    topP,
    minP,
    seed: toSeed(sampling.seed),
    // Only `null` leaves the step out: the engine's own 0 sorts the whole vocabulary for each token, which costs up to a quarter of the speed.
    topK: topK === 0 ? (null as unknown as number) : topK,
    ...(repetitionPenalty === 1
      ? {}
      : {
          repeatPenalty: { penalty: repetitionPenalty, maxPunishTokens: PENALIZED_TOKENS, punishTokens: recent.list },
        }),
  };
}
