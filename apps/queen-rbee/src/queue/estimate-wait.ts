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
  let [known, sum, jobsPerMs, unknownSlots] = [0, 0, 0, 0];
  for (const { slots, meanMs } of servers) {
    if (slots === 0) continue;
    if (meanMs === undefined) {
      unknownSlots += slots;
      continue;
    }
    known++;
    sum += Math.max(1, meanMs);
    jobsPerMs += slots / Math.max(1, meanMs);
  }
  return known === 0 ? undefined : jobsPerMs + (unknownSlots * known) / sum;
}

/** Milliseconds until the task at this position (from 1) is expected to get a slot: so many jobs have to end first. */
export function estimateWait(position: number, jobsPerMs: number | undefined): number | undefined {
  return jobsPerMs === undefined ? undefined : Math.round(position / jobsPerMs);
}
