import { z } from 'zod';
import { MODEL_SOURCES } from './download.js';
import { acceptAliases, optional, rejectWith, withDefault } from './field.js';
import { BACKENDS, backendSchema, deviceSchema, findHostileText, workerIdSchema } from './identifiers.js';
import { errorEventSchema } from './inference.js';
import { memoryFiguresSchema } from './model.js';
import { modelRefSchema } from './model-ref.js';
import { narrationSchema } from './narration.js';
import { httpOriginSchema, patternText, timeSchema, toldFactsSchema, toldText } from './text.js';

/**
 * `provisioning` → `starting` (process up, no callback yet) → `loading` → `idle` ⇄ `busy` → `draining` → gone.
 * `failed` is kept for inspection; `unhealthy` after one or two failed checks; the stale states are the queen's.
 */
export const WORKER_STATES = [
  'provisioning',
  'starting',
  'loading',
  'idle',
  'busy',
  'draining',
  'failed',
  'unhealthy',
  'stale',
  'stale-but-busy',
] as const;
export type WorkerState = (typeof WORKER_STATES)[number];
export const workerStateSchema = z.enum(WORKER_STATES);

const CAPABILITY = new RegExp(`^(?:${BACKENDS.join('|')})(?::\\d{1,3})?$`);

const workerFailureSchema = z.object({
  code: z.string(),
  message: z.string(),
  details: optional(z.record(z.string(), z.unknown())),
});

/** A backend, or one device of it: `cuda`, `cuda:1`. */
export const capabilitySchema = z
  .string()
  .superRefine(
    rejectWith('INVALID_REQUEST', 'must be a backend, or a backend and the index of a device as in cuda:1', (text) =>
      CAPABILITY.test(text) ? undefined : (findHostileText(text.slice(0, 64)) ?? 'unknown_backend'),
    ),
  );

/** One worker as its hive lists it. */
export const workerSchema = z.object({
  id: workerIdSchema,
  worker_id: workerIdSchema,
  /** The node's own view; a queen reaches it through the node's link. */
  url: z.string(),
  model_ref: z.string(),
  backend: backendSchema,
  device: deviceSchema,
  state: workerStateSchema,
  slots_total: z.number().int(),
  slots_available: z.number().int(),
  /** When it last showed that it lives: a callback, a job, or a good health check. */
  last_activity: z.string(),
  pid: optional(z.number().int()),
  restart_count: z.number().int(),
  failed_health_checks: z.number().int(),
  /** False for a worker that reported itself without having been started by this hive. */
  owned: withDefault(z.boolean(), true),
  /** Stays loaded: it does not end when idle, makes no room for others, and is started again when it is lost. */
  pinned: optional(z.boolean()),
  /** SHA-256 of its model, where it is known: equal digests mean equal tokens. */
  model_digest: optional(z.string()),
  /** Memory that ending it would free, as measured or estimated. */
  memory_bytes: optional(z.number()),
  /** When its last job ended. */
  last_job_ended_at: optional(z.string()),
});
export type Worker = z.output<typeof workerSchema>;

/** One worker with its key, for the queen only: never in a list, a log or a narration. */
export const workerDetailSchema = workerSchema.extend({
  api_key: optional(z.string()),
  last_error: optional(workerFailureSchema),
});
export type WorkerDetail = z.output<typeof workerDetailSchema>;

/** What a worker that is started gets. */
export const spawnFields = {
  model: modelRefSchema,
  backend: backendSchema,
  /** Left out: 0, or for cuda and vulkan the device with most free memory. */
  device: optional(deviceSchema),
  slots_total: optional(z.number().int().min(1).max(256)),
  /** Context of one slot in tokens; left out: the worker's default for the model. */
  context_size: optional(z.number().int().min(8)),
  pinned: withDefault(z.boolean(), false),
};

export const spawnRequestSchema = acceptAliases(
  { model_ref: 'model' },
  z.object({
    ...spawnFields,
    /** Whether the worker that the hive starts in place of a lost one of this kind will do, rather than one more. */
    or_replacement: optional(z.boolean()),
  }),
);
export type SpawnRequest = z.output<typeof spawnRequestSchema>;

/** Answer once the worker's process has called back (200), or while its model is being fetched (202, `provisioning`). */
export const spawnAnswerSchema = z.object({
  worker_id: workerIdSchema,
  url: optional(z.string()),
  state: workerStateSchema,
  /** Path on the hive of the stream that tells how the start goes on. */
  events_url: z.string(),
  api_key: optional(z.string()),
  device: optional(deviceSchema),
  /** While the model is being fetched. */
  download_id: optional(z.string()),
  progress_url: optional(z.string()),
});
export type SpawnAnswer = z.output<typeof spawnAnswerSchema>;

/** Long work that goes on: a download or the loading of a model. */
export const progressEventSchema = z.object({
  type: z.literal('progress'),
  phase: z.enum(['download', 'load']),
  stage: optional(z.string()),
  layers_loaded: optional(z.number()),
  layers_total: optional(z.number()),
  vram_mb: optional(z.number()),
  bytes_downloaded: optional(z.number()),
  bytes_total: optional(z.number()),
  /** Megabits per second. */
  speed_mbps: optional(z.number()),
  eta_seconds: optional(z.number()),
  /** Bytes that were on disk already from an earlier attempt. */
  resumed_from: optional(z.number()),
  /** Whether a configured limit sets the speed. */
  throttled: optional(z.boolean()),
  /** Where the bytes of a download come from. */
  source: optional(z.enum(MODEL_SOURCES)),
  /** Of a download with the stage `waiting`: as many others less one are in front of it. */
  position: optional(z.number().int()),
});
export type ProgressEvent = z.output<typeof progressEventSchema>;

/** How the start of a worker goes on; `end` when it is ready for jobs. */
export const workerStartEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  progressEventSchema,
  z.object({ type: z.literal('end'), worker_id: workerIdSchema, state: workerStateSchema }),
  errorEventSchema,
]);
export type WorkerStartEvent = z.output<typeof workerStartEventSchema>;

export const slotCountSchema = z.number().int().min(0).max(256);
/** A process that may be looked at and ended: not the first one of the machine. */
const processIdSchema = z.number().int().min(2).max(0x7fff_ffff);

/** A failure as the worker tells it. */
const toldFailureSchema = z.object({
  code: patternText('must be the code of an error', /^[A-Z][A-Z0-9_]*$/, 64),
  message: toldText(1_000),
  details: optional(toldFactsSchema),
});

/** What a worker tells its hive when its server is bound (`loading`) and when its model is loaded (`idle`) or cannot be (`failed`). */
export const readyCallbackSchema = z.object({
  worker_id: workerIdSchema,
  url: httpOriginSchema,
  model_ref: modelRefSchema,
  backend: backendSchema,
  device: deviceSchema,
  state: withDefault(z.enum(['loading', 'idle', 'busy', 'draining', 'failed']), 'loading'),
  vram_bytes: optional(z.number().min(0)),
  /** What the loaded model takes, by the engine's own account. */
  memory: optional(memoryFiguresSchema),
  slots_total: optional(slotCountSchema),
  slots_available: optional(slotCountSchema),
  pid: optional(processIdSchema),
  /** Why the model could not be loaded; with state `failed`. */
  error: optional(toldFailureSchema),
});
export type ReadyCallback = z.output<typeof readyCallbackSchema>;

/** Sent every 30 s, and at once when the number of free slots or the state changes. */
export const heartbeatSchema = z.object({
  worker_id: workerIdSchema,
  timestamp: timeSchema,
  health_status: z.enum(['healthy', 'degraded']),
  state: optional(z.enum(['loading', 'idle', 'busy', 'draining'])),
  slots_available: optional(slotCountSchema),
  /** Jobs that run now. */
  jobs_active: optional(slotCountSchema),
  /** When the last job ended. */
  last_job_ended_at: optional(timeSchema),
});
export type Heartbeat = z.output<typeof heartbeatSchema>;

/** Answer of `GET /v1/ready` of a worker; always 200. */
export const readyStatusSchema = z.object({
  ready: z.boolean(),
  state: z.enum(['loading', 'idle', 'busy', 'draining', 'error']),
  model_loaded: optional(z.boolean()),
  progress_url: optional(z.string()),
  slots_total: z.number().int(),
  slots_available: z.number().int(),
  last_job_ended_at: optional(z.string()),
  error: optional(workerFailureSchema),
});
export type ReadyStatus = z.output<typeof readyStatusSchema>;

export const workerHealthSchema = z.object({
  status: z.enum(['healthy', 'unhealthy']),
  vram_bytes: z.number(),
  uptime_seconds: z.number(),
  /** Compute threads that decode this model fastest on this machine, as measured while loading. */
  threads: optional(z.number().int()),
  /** For how long the engine has been at the step that it is in; absent while it has nothing to do. */
  step_ms: optional(z.number()),
});

/** Answer to a canary: the engine has evaluated one token in this time, or had no free slot to do it in. */
export const canarySchema = z.object({ outcome: z.enum(['passed', 'busy']), ms: z.number() });
export type Canary = z.output<typeof canarySchema>;

export const pinRequestSchema = z.object({ pinned: z.boolean() });

/** Events of `GET /v1/loading/progress`: they are sent without a name and have a `stage` instead of a `type`. */
export const loadProgressSchema = z.discriminatedUnion('stage', [
  z.object({
    stage: z.literal('loading_to_vram'),
    layers_loaded: z.number().int(),
    layers_total: z.number().int(),
    /** 0 on the CPU. */
    vram_mb: z.number(),
  }),
  z.object({ stage: z.literal('ready') }),
  z.object({ stage: z.literal('error'), code: z.string(), message: z.string() }),
]);
export type LoadProgress = z.output<typeof loadProgressSchema>;

/** Body of a shutdown request to a worker. */
export const workerShutdownSchema = z.object({
  /** Refuse, with `draining: false`, when a job runs or one ended less than this many milliseconds ago. */
  only_if_idle_ms: optional(z.number().min(0)),
});

export const workerShutdownAnswerSchema = z.object({ message: z.string(), draining: z.boolean() });
