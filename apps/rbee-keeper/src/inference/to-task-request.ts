import type { TaskRequestInput } from '@rbee/protocol';
import { checkRequest } from '../check-request.js';
import type { TaskInput } from './read-input.js';
import type { TaskOptions } from './task-options.js';

/** A task with the id that the keeper gave it. */
export type TaskToSend = TaskRequestInput & { readonly job_id: string };

/**
 * The task that flags and input ask for, checked by the schema that the queen applies too, so that a wrong value is
 * reported before anything is started. Throws the validation error with flags in place of field names.
 */
export function toTaskRequest(
  options: Omit<TaskOptions, 'keep-alive'>,
  input: TaskInput,
  fixed: { readonly jobId: string; readonly model: string | undefined; readonly raw: boolean },
): TaskToSend {
  const request: TaskToSend = {
    job_id: fixed.jobId,
    node: options.node,
    model: fixed.model,
    ...('prompt' in input ? { prompt: input.prompt } : { messages: [...input.messages] }),
    ...(fixed.raw ? { template: 'none' as const } : {}),
    backend: options.backend,
    device: options.device,
    max_tokens: options['max-tokens'],
    temperature: options.temperature,
    top_p: options['top-p'],
    top_k: options['top-k'],
    min_p: options['min-p'],
    repetition_penalty: options['repetition-penalty'],
    seed: options.seed,
    stop: options.stop.length > 0 ? [...options.stop] : undefined,
    timeout_seconds: options.timeout === undefined ? undefined : options.timeout / 1000,
  };
  checkRequest('runTask', request, { template: '--raw', timeout_seconds: '--timeout' });
  return request;
}
