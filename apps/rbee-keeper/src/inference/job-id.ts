import { randomUUID } from 'node:crypto';

/** A fresh id for a task, so that the keeper can cancel it before the queen has answered. */
export function newJobId(): string {
  return `job-${randomUUID()}`;
}
