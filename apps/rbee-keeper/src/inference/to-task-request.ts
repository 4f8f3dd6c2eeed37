import type { Priority, TaskRequestInput } from '@rbee/protocol';
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
  options: Omit<TaskOptions, 'keep-alive'> & { readonly 'on-disconnect'?: string },
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
    ...(options['no-resume'] ? { resume: false } : {}),
    // What is none of the names is the schema's to refuse.
    priority: options.priority as Priority,
    on_disconnect: options['on-disconnect'] as TaskToSend['on_disconnect'],
  };
  checkRequest('runTask', request, { template: '--raw', timeout_seconds: '--timeout' });
  return request;
}
