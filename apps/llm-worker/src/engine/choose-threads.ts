/** Times of single decode steps with one number of threads. */
export interface ThreadSample {
  readonly threads: number;
  readonly stepMs: readonly number[];
}

/** Weights that one core reads per second in good conditions; turns a model's size into the least time of a step. */
const CORE_BYTES_PER_SECOND = 8e9;
const LONGEST_STEP_MS = 150;
/** More threads must be faster by this factor, because they disturb the rest of the machine more. */
const WORTHWHILE = 1.05;

/**
 * Thread counts worth a measurement: powers of two and the number of cores, few before many. Counts with which a single step
 * of so large a model would take longer than 150 ms are left out; such a model needs all cores anyway.
 */
export function listThreadCandidates(mathCores: number, modelBytes: number): number[] {
  const cores = Math.max(1, Math.floor(mathCores));
  const candidates: number[] = [];
  for (let threads = 1; threads < cores; threads *= 2) {
    if ((modelBytes / CORE_BYTES_PER_SECOND / threads) * 1000 <= LONGEST_STEP_MS) candidates.push(threads);
  }
  return [...candidates, cores];
}

/** More threads that were this many times slower are of no use, whatever else the machine does. */
const USELESS = 2;

/** Thread counts among which a worker may change while it runs: fewer than the chosen one, and more that may yet be worth it. */
export function listUsableThreads(samples: readonly ThreadSample[], chosen: number): number[] {
  if (samples.length === 0) return chosen > 1 ? [Math.floor(chosen / 2), chosen] : [chosen];
  const chosenMs = median(samples.find((sample) => sample.threads === chosen)?.stepMs ?? []);
  return samples
    .filter(({ threads, stepMs }) => threads <= chosen || median(stepMs) < chosenMs * USELESS)
    .map(({ threads }) => threads);
}

/** The middle of the times; a single slow step says little on a machine that others use. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.POSITIVE_INFINITY;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** The thread count that decodes fastest; of counts that differ by less than 5 % the smallest. Throws without a sample. */
export function chooseThreads(samples: readonly ThreadSample[]): number {
  const measured = samples
    .map((sample) => ({ threads: sample.threads, ms: median(sample.stepMs) }))
    .sort((a, b) => a.threads - b.threads);
  let best = measured[0];
  if (!best) throw new RangeError('no thread count was measured');
  for (const candidate of measured) if (candidate.ms * WORTHWHILE < best.ms) best = candidate;
  return best.threads;
}
