import type { Answer } from './generate.js';

/** An answer for programs: ids, text, and the figures of the end event. */
export function answerToJson({ text, end, jobId, correlationId, node, model, workerId }: Answer): object {
  const { type: _type, ...figures } = end;
  return { job_id: jobId, correlation_id: correlationId, node, model, worker_id: workerId, text, ...figures };
}
