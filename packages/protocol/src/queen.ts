import { z } from 'zod';
import { acceptAliases, optional } from './field.js';
import { backendSchema, deviceSchema, nodeNameSchema } from './identifiers.js';
import { errorEventSchema } from './inference.js';
import { narrationSchema } from './narration.js';
import { progressEventSchema, spawnFields, workerStateSchema } from './worker.js';

export const queenHealthSchema = z.object({
  status: z.literal('ok'),
  version: z.string(),
  /** Process id, so that a keeper can follow the end of a queen that it started. */
  pid: optional(z.number().int()),
});

/** One worker as the queen lists it. */
export const globalWorkerSchema = z.object({
  worker_id: z.string(),
  node: z.string(),
  url: z.string(),
  model_ref: z.string(),
  state: workerStateSchema,
  backend: backendSchema,
  device: deviceSchema,
  slots_total: z.number().int(),
  slots_available: z.number().int(),
  /** For example `cuda:1`. */
  capabilities: z.array(z.string()),
  models_loaded: z.array(z.string()),
  rbee_hive_url: z.string(),
  last_heartbeat_unix: optional(z.number()),
  pinned: optional(z.boolean()),
});
export type GlobalWorker = z.output<typeof globalWorkerSchema>;

export const workerReadinessSchema = z.object({ worker_id: z.string(), state: workerStateSchema, ready: z.boolean() });

/**
 * A keeper's lease on a queen: it lasts as long as the stream. A queen that a keeper started ends when it has no lease
 * and no task left.
 */
export const leaseEventSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('leased'),
    lease_id: z.string(),
    version: z.string(),
    pid: z.number().int(),
    /** Whether this queen ends with its last client. */
    ephemeral: z.boolean(),
  }),
  z.object({ type: z.literal('end'), reason: z.string() }),
]);
export type LeaseEvent = z.output<typeof leaseEventSchema>;

/** Answer to the end of a lease; `ending` when the queen shuts down because nothing is left to do. */
export const leaseReleaseSchema = z.object({ ending: z.boolean() });

/** Body of `POST /v2/workers/spawn`: a worker that is started ahead of any task. Without `node` the queen chooses one. */
export const queenSpawnSchema = acceptAliases(
  { model_ref: 'model' },
  z.object({ node: optional(nodeNameSchema), ...spawnFields }),
);
export type QueenSpawn = z.output<typeof queenSpawnSchema>;

/** How the start of a worker goes on, as the queen tells it. */
export const queenSpawnEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  progressEventSchema,
  z.object({
    type: z.literal('end'),
    worker_id: z.string(),
    node: z.string(),
    url: z.string(),
    state: workerStateSchema,
    pinned: z.boolean(),
  }),
  errorEventSchema,
]);
export type QueenSpawnEvent = z.output<typeof queenSpawnEventSchema>;
