import { z } from 'zod';
import { optional } from './field.js';
import { backendSchema } from './identifiers.js';
import { modelSchema } from './model.js';
import { narrationSchema } from './narration.js';
import { workerSchema } from './worker.js';

export const hiveHealthSchema = z.object({
  status: z.enum(['alive', 'healthy']),
  version: z.string(),
  api_version: z.string(),
  /** Process id, so that whoever started the hive can follow its end. */
  pid: optional(z.number().int()),
});

/** One backend of a machine. */
export const backendStatusSchema = z.object({ name: backendSchema, available: z.boolean(), devices: z.number().int() });
export type BackendStatus = z.output<typeof backendStatusSchema>;

export const gpuSchema = z.object({
  index: z.number().int(),
  name: z.string(),
  backend: optional(backendSchema),
  vram_total_mb: z.number(),
  vram_free_mb: z.number(),
  temperature_c: optional(z.number()),
});

/** Memory and disk of a machine; MB and GB are 2^20 and 2^30 bytes. */
export const resourcesSchema = z.object({
  ram_total_gb: z.number(),
  ram_available_gb: z.number(),
  disk_total_gb: z.number(),
  disk_available_gb: z.number(),
  ram_available_mb: z.number(),
  disk_available_mb: z.number(),
  gpus: z.array(gpuSchema),
});
export type Resources = z.output<typeof resourcesSchema>;

export const workerBinarySchema = z.object({
  worker_type: z.string(),
  version: z.string(),
  binary_path: z.string(),
  features: z.array(z.string()),
  installed_at_unix: z.number(),
});

/** `rbee-hive detect --json`. */
export const detectionSchema = z.object({
  backends: z.array(backendSchema),
  devices: z.record(z.string(), z.number().int()),
  total_devices: z.number().int(),
});

/** What a hive tells whoever listens on `GET /v1/events`; the stream has ids and no end of its own. */
export const hiveEventSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('snapshot'),
    version: z.string(),
    pid: optional(z.number().int()),
    workers: z.array(workerSchema),
    models: z.array(modelSchema),
    backends: z.array(backendStatusSchema),
    resources: resourcesSchema,
    /** What the user has to know of this hive for as long as it runs, for example that its catalog was damaged. */
    warnings: optional(z.array(z.string())),
  }),
  z.object({ type: z.literal('warning'), text: z.string() }),
  z.object({ type: z.literal('worker'), change: z.enum(['added', 'changed', 'removed']), worker: workerSchema }),
  z.object({ type: z.literal('model'), change: z.enum(['added', 'changed', 'removed']), model: modelSchema }),
  /** Memory and disk have changed noticeably. */
  z.object({ type: z.literal('resources'), resources: resourcesSchema }),
  narrationSchema,
  /** The hive is shutting down; nothing follows. */
  z.object({ type: z.literal('end'), reason: z.string() }),
]);
export type HiveEvent = z.output<typeof hiveEventSchema>;
