import { z } from 'zod';
import { acceptAliases, checkTogether, optional, withDefault } from './field.js';
import { backendSchema, deviceSchema, jobIdSchema, nodeNameSchema } from './identifiers.js';
import {
  endEventSchema,
  errorEventSchema,
  inputFields,
  metricsEventSchema,
  requireOneInput,
  samplingFields,
  startedEventSchema,
  tokenEventSchema,
} from './inference.js';
import { BUNDLED_MODEL_REF, modelRefSchema } from './model-ref.js';
import { narrationSchema } from './narration.js';
import { progressEventSchema, workerStateSchema } from './worker.js';

/** Body of `POST /v2/tasks`. */
export const taskRequestSchema = acceptAliases(
  { request_id: 'job_id', model_ref: 'model' },
  checkTogether(
    z.object({
      job_id: optional(jobIdSchema),
      /** Left out: the queen places the task. */
      node: optional(nodeNameSchema),
      model: withDefault(modelRefSchema, BUNDLED_MODEL_REF),
      ...inputFields,
      temperature: withDefault(z.number().min(0).max(2), 0.7),
      ...samplingFields,
      backend: withDefault(backendSchema, 'cpu'),
      device: optional(deviceSchema),
      /** Becomes the deadline of the whole task. */
      timeout_seconds: optional(z.number().gt(0).max(86_400)),
      stream: withDefault(z.boolean(), true),
    }),
    requireOneInput,
  ),
);
export type TaskRequest = z.output<typeof taskRequestSchema>;
export type TaskRequestInput = z.input<typeof taskRequestSchema>;

export const acceptedEventSchema = z.object({
  type: z.literal('accepted'),
  job_id: z.string(),
  correlation_id: z.string(),
  node: optional(z.string()),
  model: z.string(),
});

export const queuedEventSchema = z.object({
  type: z.literal('queued'),
  /** Tasks in front of this one, plus one. */
  position: z.number().int(),
  eta_ms: optional(z.number()),
  reason: z.string(),
});

export const workerAssignedEventSchema = z.object({
  type: z.literal('worker'),
  worker_id: z.string(),
  node: z.string(),
  url: z.string(),
  state: workerStateSchema,
  /** True for a warm start. */
  reused: z.boolean(),
});

/** What a task stream may carry: the queen's own events, then the worker's. Ends in exactly one `end` or `error`. */
export const taskEventSchema = z.discriminatedUnion('type', [
  acceptedEventSchema,
  queuedEventSchema,
  progressEventSchema,
  workerAssignedEventSchema,
  startedEventSchema,
  tokenEventSchema,
  narrationSchema,
  metricsEventSchema,
  endEventSchema,
  errorEventSchema,
]);
export type TaskEvent = z.output<typeof taskEventSchema>;
