import { z } from 'zod';
import { optional, withDefault } from './field.js';
import { backendSchema, deviceSchema, nodeNameSchema, workerIdSchema } from './identifiers.js';
import { modelRefSchema } from './model-ref.js';
import { httpOriginSchema } from './text.js';
import { capabilitySchema, slotCountSchema, workerStateSchema } from './worker.js';

/** What a hive says of a worker that it reports to a queen by itself. */
export const workerReportSchema = z.object({
  worker_id: workerIdSchema,
  url: httpOriginSchema,
  rbee_hive_url: httpOriginSchema,
  node_name: nodeNameSchema,
  model_ref: modelRefSchema,
  backend: backendSchema,
  device: withDefault(deviceSchema, 0),
  /** For example `cuda:1`; left out: the worker's own backend and device. */
  capabilities: optional(z.array(capabilitySchema).max(64)),
  models_loaded: withDefault(z.array(modelRefSchema).max(64), []),
  slots_total: withDefault(slotCountSchema, 1),
  vram_bytes: optional(z.number().min(0)),
});
export type WorkerReport = z.output<typeof workerReportSchema>;

/** The report of a worker that is ready for jobs; one that is not known yet is registered by it. */
export const workerReadyReportSchema = z.object({
  worker_id: workerIdSchema,
  url: httpOriginSchema,
  model_ref: modelRefSchema,
  backend: backendSchema,
  device: withDefault(deviceSchema, 0),
  rbee_hive_url: optional(httpOriginSchema),
  node_name: optional(nodeNameSchema),
});
export type WorkerReadyReport = z.output<typeof workerReadyReportSchema>;

/** A change of a worker's state, or a heartbeat. */
export const workerChangeSchema = z.object({
  state: optional(workerStateSchema),
  slots_available: optional(slotCountSchema),
});
export type WorkerChange = z.output<typeof workerChangeSchema>;

export const workerReportAnswerSchema = z.object({
  success: z.literal(true),
  message: z.string(),
  worker_id: workerIdSchema,
});
