import { z } from 'zod';
import { acceptAliases, optional } from './field.js';
import { backendSchema, deviceSchema, jobIdSchema } from './identifiers.js';
import { digestSchema, modelSchema } from './model.js';
import { modelRefSchema } from './model-ref.js';
import { patternText } from './text.js';

/** Where the bytes of a model come from. */
export const MODEL_SOURCES = ['hub', 'node'] as const;
export type ModelSource = (typeof MODEL_SOURCES)[number];

/** Id of a download; `cached` stands for a model that is there already. */
export const downloadIdSchema = jobIdSchema;

/** A worker that is going to be started: nothing is fetched for one that the machine has no backend or memory for. */
const plannedWorkerSchema = z.object({
  backend: backendSchema,
  device: optional(deviceSchema),
  slots_total: optional(z.number().int().min(1).max(256)),
  context_size: optional(z.number().int().min(8)),
});
export type PlannedWorker = z.output<typeof plannedWorkerSchema>;

export const downloadRequestSchema = acceptAliases(
  { model: 'model_ref' },
  z.object({ model_ref: modelRefSchema, worker: optional(plannedWorkerSchema) }),
);

/** `local_path` with the id `cached` when the model is in the catalog; else how to follow the download. */
export const downloadAnswerSchema = z.object({
  download_id: downloadIdSchema,
  local_path: z.string().nullable(),
  /** Path on the hive of the stream that tells how the download goes on. */
  progress_url: optional(z.string()),
});
export type DownloadAnswer = z.output<typeof downloadAnswerSchema>;

/** Events of `GET /v1/models/download/progress`: they are sent without a name and have a `stage` instead of a `type`. */
export const downloadProgressSchema = z.discriminatedUnion('stage', [
  /** As many downloads run as may; this one has `position - 1` in front of it. */
  z.object({ stage: z.literal('waiting'), position: z.number().int() }),
  z.object({
    stage: z.literal('downloading'),
    /** Of all files, those on disk from an earlier attempt included. */
    bytes_downloaded: z.number(),
    bytes_total: z.number(),
    /** Megabits (10^6 bits) per second, over the last seconds. */
    speed_mbps: z.number(),
    eta_seconds: optional(z.number()),
    /** Bytes that were on disk already when this download, or its newest attempt, began. */
    resumed_from: optional(z.number()),
    /** Whether a configured limit, not the network, sets the speed. */
    throttled: optional(z.boolean()),
    source: z.enum(MODEL_SOURCES),
  }),
  z.object({
    stage: z.literal('retrying'),
    /** Number of the attempt that follows, from 2. */
    attempt: z.number().int(),
    max_attempts: z.number().int(),
    delay_ms: z.number(),
    reason: z.string(),
  }),
  z.object({ stage: z.literal('verifying') }),
  z.object({ stage: z.literal('complete'), local_path: z.string() }),
  z.object({
    stage: z.literal('error'),
    code: z.string(),
    message: z.string(),
    details: optional(z.record(z.string(), z.unknown())),
  }),
]);
export type DownloadProgress = z.output<typeof downloadProgressSchema>;

/** A download that runs or waits, as a list shows it. */
export const activeDownloadSchema = z.object({
  download_id: downloadIdSchema,
  model_ref: z.string(),
  source: z.enum(MODEL_SOURCES),
  progress: optional(downloadProgressSchema),
});
export type ActiveDownload = z.output<typeof activeDownloadSchema>;

/** Name of a model file, without a folder. */
const fileNameSchema = patternText('must be the name of a GGUF file', /^\w[\w.+-]*\.gguf$/i, 256);

/** What is about to be copied to a hive from another one: a hub model whose digests are known. */
export const importRequestSchema = z.object({
  /** With its variant. */
  model_ref: modelRefSchema,
  files: z
    .array(z.object({ name: fileNameSchema, size_bytes: z.number().int().min(1), digest: digestSchema }))
    .min(1)
    .max(1000),
  worker: optional(plannedWorkerSchema),
});
export type ImportRequest = z.output<typeof importRequestSchema>;

/** How far a copy has come: for each file the bytes that the hive has, from which the sender goes on. */
export const importStateSchema = z.object({
  /** `cached` when the model is there already. */
  download_id: downloadIdSchema,
  files: z.array(z.object({ name: z.string(), offset: z.number().int() })),
  progress_url: optional(z.string()),
});
export type ImportState = z.output<typeof importStateSchema>;

/** Result of looking through the folders of models. */
export const scanResultSchema = z.object({
  /** Files without a row that have one now. */
  added: z.array(modelSchema),
  /** Rows whose files had gone. */
  removed: z.array(modelSchema),
  /** Rows whose file is not what it was: its facts were read anew. */
  changed: z.array(modelSchema),
  /** Files that look like models and are none, with the reason. */
  refused: z.array(z.object({ name: z.string(), reason: z.string() })),
  /** Rests of downloads that nobody has gone on with for a week, and were deleted. */
  removed_partials: z.array(z.object({ name: z.string(), size_bytes: z.number() })),
});
export type ScanResult = z.output<typeof scanResultSchema>;

export const modelRemovalSchema = z.object({
  model: modelSchema,
  freed_bytes: z.number(),
  /** False for a file outside the models folder: it stays, and only its row has gone. */
  file_removed: z.boolean(),
});
export type ModelRemoval = z.output<typeof modelRemovalSchema>;
