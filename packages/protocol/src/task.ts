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

/** Who is served first: a person who waits, or work that may take its time. Work that has waited long is served like the former. */
export const PRIORITIES = ['interactive', 'batch'] as const;
export type Priority = (typeof PRIORITIES)[number];

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
      priority: withDefault(z.enum(PRIORITIES), 'interactive'),
      /** What becomes of the task when its last client is gone. */
      on_disconnect: withDefault(z.enum(['cancel', 'keep']), 'cancel'),
      /** Whether a generation whose worker is lost goes on at another one. */
      resume: withDefault(z.boolean(), true),
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

/**
 * `starting`: it is placed, and what it needs is brought about (hive, model, worker); `queued`: it waits for a slot; `generating`; then
 * one of the three ends.
 */
export const TASK_STATES = ['starting', 'queued', 'generating', 'ended', 'failed', 'cancelled'] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** One task as the queen lists it. Ended ones are listed for a while. */
export const taskSummarySchema = z.object({
  job_id: z.string(),
  state: z.enum(TASK_STATES),
  model: z.string(),
  /** The node and the worker that it runs on, or ran on last. */
  node: optional(z.string()),
  worker_id: optional(z.string()),
  priority: z.enum(PRIORITIES),
  /** While it is queued. */
  position: optional(z.number().int()),
  tokens_out: z.number().int(),
  /** How often it went on at another worker after tokens had gone out. */
  resumed: z.number().int(),
  /** Whether a queen that was started anew took it over. */
  recovered: z.boolean(),
  /** Clients that listen now. */
  clients: z.number().int(),
  accepted_at: z.string(),
  ended_at: optional(z.string()),
  deadline: optional(z.string()),
  correlation_id: z.string(),
  error: optional(z.object({ code: z.string(), message: z.string() })),
});
export type TaskSummary = z.output<typeof taskSummarySchema>;

/** One task with the text that has come so far. */
export const taskDetailSchema = taskSummarySchema.extend({ text: z.string() });
export type TaskDetail = z.output<typeof taskDetailSchema>;
