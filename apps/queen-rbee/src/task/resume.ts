import { RbeeError } from '@rbee/protocol';
import type { Task } from './task.js';

/** Whether a task goes on at another worker once tokens have gone out. RBEE_NO_RETRY leaves every attempt at one. */
export function isResumeWanted(task: Task, variables: Readonly<Record<string, string | undefined>>): boolean {
  return task.request.resume && !variables.RBEE_NO_RETRY;
}

/** Why an answer cannot go on elsewhere from the tokens that went out; `undefined` when it can. */
export function findResumeObstacle({ delivered }: Task): string | undefined {
  if (!delivered.promptIds) return 'the worker did not tell the tokens of the prompt';
  if (!delivered.toResume()) return 'the worker did not tell which tokens its text is made of';
  if (delivered.modelDigest === undefined && !delivered.from) {
    return 'it is not known which model made the tokens';
  }
  return undefined;
}

/** Whether a job may be taken to another worker now. */
export function mayGoOn(task: Task, variables: Readonly<Record<string, string | undefined>>): boolean {
  return isResumeWanted(task, variables) && (task.tokensOut === 0 || findResumeObstacle(task) === undefined);
}

/** The loss that ends a task, with the reason why the answer could not go on elsewhere. */
export function resumeImpossible(loss: RbeeError, reason: string): RbeeError {
  const { code, message, details, suggestion, retryable, cause } = loss;
  return new RbeeError(code, message, {
    details: { ...details, resume: 'RESUME_IMPOSSIBLE', resume_reason: reason },
    retryable,
    cause,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
}
