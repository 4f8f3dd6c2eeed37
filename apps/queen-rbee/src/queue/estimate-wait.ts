/** A worker that tasks wait for, as far as the length of the wait depends on it. */
export interface Server {
  /** Jobs that it takes at a time. */
  readonly slots: number;
  /** Mean duration of its jobs in milliseconds; `undefined` before the first has ended. */
  readonly meanMs: number | undefined;
}

/**
 * Jobs that end per millisecond while all slots are taken; a worker of which nothing is known counts as the mean of the
 * others. `undefined` while nothing is known of any.
 */
export function serviceRate(servers: readonly Server[]): number | undefined {
  const serving = servers.filter(({ slots }) => slots > 0);
  const means = serving.flatMap(({ meanMs }) => (meanMs === undefined ? [] : [Math.max(1, meanMs)]));
  if (means.length === 0) return undefined;
  const usual = means.reduce((sum, mean) => sum + mean, 0) / means.length;
  return serving.reduce((sum, { slots, meanMs }) => sum + slots / Math.max(1, meanMs ?? usual), 0);
}

/** Milliseconds until the task at this position (from 1) is expected to get a slot: so many jobs have to end first. */
export function estimateWait(position: number, jobsPerMs: number | undefined): number | undefined {
  return jobsPerMs === undefined ? undefined : Math.round(position / jobsPerMs);
}
