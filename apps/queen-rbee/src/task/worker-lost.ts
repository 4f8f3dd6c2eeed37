import type { RbeeError } from '@rbee/protocol';

/** A worker that did not bring a job to its end: it ended, cannot be reached, stands still, or says what cannot be. */
export class WorkerLost extends Error {
  constructor(
    readonly workerId: string,
    /** What the client hears when the task ends with it. */
    readonly reason: RbeeError,
  ) {
    super(reason.message, { cause: reason });
  }
}
