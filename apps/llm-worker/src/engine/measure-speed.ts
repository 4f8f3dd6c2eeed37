import type { Llama, LlamaContextSequence, Token } from 'node-llama-cpp';
import { chooseThreads, listThreadCandidates, median, type ThreadSample } from './choose-threads.js';
import { CHUNK_TARGET_MS, MAX_CHUNK, MIN_CHUNK, toRung } from './chunk-size.js';

/** How fast a model runs on this machine, as far as it decides the engine's settings. */
export interface MeasuredSpeed {
  /** Compute threads with which a token is decoded fastest. */
  readonly threads: number;
  /** Tokens of a prompt that are evaluated in about 50 ms. */
  readonly chunk: number;
  readonly samples: readonly ThreadSample[];
  /** Whether the number of threads matters, and may be changed while the model runs. */
  readonly governed: boolean;
}

const CANDIDATE_MS = 150;
const TOTAL_MS = 500;
const STEPS = 16;
/** A count that is slower than the best by this factor isn't measured any further, nor are larger ones. */
const HOPELESS = 3;

export interface MeasureOptions {
  /** Steady clock in milliseconds. */
  readonly now: () => number;
  /** Ends measuring between two steps; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Times decode steps with each thread count in question, and one piece of a prompt. Leaves the sequence empty. */
export async function measureSpeed(
  llama: Llama,
  sequence: LlamaContextSequence,
  modelBytes: number,
  { now, signal }: MeasureOptions,
): Promise<MeasuredSpeed> {
  const token = (sequence.model.tokens.bos ?? sequence.model.tokens.eos ?? 0) as Token;
  const time = async (tokens: number): Promise<number> => {
    signal?.throwIfAborted();
    if (sequence.nextTokenIndex + tokens >= sequence.contextSize - 1) await sequence.clearHistory();
    const start = now();
    await sequence.evaluateWithoutGeneratingNewTokens(new Array<Token>(tokens).fill(token));
    return now() - start;
  };
  const candidates = llama.gpu === false ? listThreadCandidates(llama.cpuMathCores, modelBytes) : [];
  const samples = candidates.length > 1 ? await sampleThreads(llama, candidates, () => time(1), now) : [];
  const threads = samples.length > 0 ? chooseThreads(samples) : llama.cpuMathCores;
  llama.maxThreads = threads;
  const stepMs = median(samples.find((sample) => sample.threads === threads)?.stepMs ?? [await time(1)]);
  const chunk = await measureChunk(stepMs, time);
  await sequence.clearHistory();
  return { threads, chunk, samples, governed: llama.gpu === false };
}

async function sampleThreads(
  llama: Llama,
  candidates: readonly number[],
  step: () => Promise<number>,
  now: () => number,
) {
  const samples: ThreadSample[] = [];
  const limit = Math.min(CANDIDATE_MS, TOTAL_MS / candidates.length);
  let best = Number.POSITIVE_INFINITY;
  llama.maxThreads = candidates[0] ?? 1;
  await step(); // reads the weights into memory
  for (const threads of candidates) {
    llama.maxThreads = threads;
    const start = now();
    const stepMs: number[] = [];
    do stepMs.push(await step());
    while (stepMs.length < STEPS && now() - start < limit && median(stepMs) < best * HOPELESS);
    samples.push({ threads, stepMs });
    if (median(stepMs) >= best * HOPELESS) break;
    best = Math.min(best, median(stepMs));
  }
  return samples;
}

/** A decode step of 5 ms leaves time for a larger piece, which tells more; a slow model is judged by the smallest. */
async function measureChunk(stepMs: number, time: (tokens: number) => Promise<number>): Promise<number> {
  if (stepMs > CANDIDATE_MS) return MIN_CHUNK;
  const tokens = stepMs < 5 ? MIN_CHUNK * 4 : MIN_CHUNK;
  const ms = await time(tokens);
  return Math.min(MAX_CHUNK, toRung((CHUNK_TARGET_MS * tokens) / Math.max(ms, 0.001)));
}
