import { z } from 'zod';
import {
  activeDownloadSchema,
  downloadAnswerSchema,
  downloadIdSchema,
  downloadProgressSchema,
  downloadRequestSchema,
  importRequestSchema,
  importStateSchema,
  modelRemovalSchema,
  scanResultSchema,
} from './download.js';
import { optional } from './field.js';
import { backendStatusSchema, hiveEventSchema, hiveHealthSchema, resourcesSchema, workerBinarySchema } from './hive.js';
import { workerIdSchema } from './identifiers.js';
import { hiveLogQuerySchema } from './log-query.js';
import { modelIdSchema, modelSchema, modelVariantSchema } from './model.js';
import { modelRefSchema } from './model-ref.js';
import { defineRoutes } from './route.js';
import { wholeNumber } from './text.js';
import {
  heartbeatSchema,
  pinRequestSchema,
  readyCallbackSchema,
  spawnAnswerSchema,
  spawnRequestSchema,
  workerDetailSchema,
  workerSchema,
  workerStartEventSchema,
} from './worker.js';

const workerParams = z.object({ worker_id: workerIdSchema });
const modelParams = z.object({ id: modelIdSchema });
const fileIndex = wholeNumber(999);
const acknowledgement = z.object({ message: z.string() });

/** Everything that a hive answers. */
export const hiveRoutes = defineRoutes({
  health: {
    method: 'GET',
    path: '/v1/health',
    aliases: [{ path: '/health' }],
    open: true,
    answer: { kind: 'json', schema: hiveHealthSchema },
  },
  events: {
    method: 'GET',
    path: '/v1/events',
    slow: true,
    // The queen takes a hive for lost after 4 s of silence (`timeouts.hive_silence`).
    keepAliveMs: 1_500,
    answer: { kind: 'sse', events: hiveEventSchema },
  },
  listWorkers: {
    method: 'GET',
    path: '/v1/workers/list',
    answer: { kind: 'json', schema: z.object({ workers: z.array(workerSchema) }) },
  },
  spawnWorker: {
    method: 'POST',
    path: '/v1/workers/spawn',
    slow: true,
    body: spawnRequestSchema,
    answer: { kind: 'json', schema: spawnAnswerSchema, status: [200, 202] },
  },
  workerReady: {
    method: 'POST',
    path: '/v1/workers/ready',
    // A worker calls back with its own key; the handler checks that it is the key of the worker that the body names.
    callers: 'workers',
    body: readyCallbackSchema,
    answer: { kind: 'json', schema: acknowledgement },
  },
  heartbeat: {
    method: 'POST',
    path: '/v1/heartbeat',
    callers: 'workers',
    body: heartbeatSchema,
    answer: { kind: 'json', schema: acknowledgement },
  },
  getWorker: {
    method: 'GET',
    path: '/v1/workers/{worker_id}',
    params: workerParams,
    answer: { kind: 'json', schema: workerDetailSchema },
  },
  workerEvents: {
    method: 'GET',
    path: '/v1/workers/{worker_id}/events',
    slow: true,
    params: workerParams,
    answer: { kind: 'sse', events: workerStartEventSchema },
  },
  pinWorker: {
    method: 'POST',
    path: '/v1/workers/{worker_id}/pin',
    params: workerParams,
    body: pinRequestSchema,
    answer: { kind: 'json', schema: workerSchema },
  },
  shutdownWorker: {
    method: 'POST',
    path: '/v1/workers/{worker_id}/shutdown',
    aliases: [{ method: 'DELETE', path: '/v1/workers/{worker_id}' }],
    params: workerParams,
    answer: { kind: 'json', schema: acknowledgement, status: [202] },
  },
  listBackends: {
    method: 'GET',
    path: '/v1/backends/list',
    aliases: [{ path: '/v1/backends' }],
    answer: { kind: 'json', schema: z.object({ backends: z.array(backendStatusSchema) }) },
  },
  listWorkerBinaries: {
    method: 'GET',
    path: '/v1/worker-binaries/list',
    answer: { kind: 'json', schema: z.object({ binaries: z.array(workerBinarySchema) }) },
  },
  resources: { method: 'GET', path: '/v1/resources', answer: { kind: 'json', schema: resourcesSchema } },
  listModels: {
    method: 'GET',
    path: '/v1/models/list',
    query: z.object({ provider: optional(z.enum(['hf', 'local', 'builtin'])) }),
    answer: {
      kind: 'json',
      schema: z.object({ models: z.array(modelSchema), downloads: z.array(activeDownloadSchema) }),
    },
  },
  downloadModel: {
    method: 'POST',
    path: '/v1/models/download',
    // It may have to ask the hub.
    slow: true,
    body: downloadRequestSchema,
    answer: { kind: 'json', schema: downloadAnswerSchema, status: [202, 200] },
  },
  downloadProgress: {
    method: 'GET',
    path: '/v1/models/download/progress',
    slow: true,
    query: z.object({ id: optional(downloadIdSchema) }),
    answer: { kind: 'sse', events: downloadProgressSchema, unnamed: true },
  },
  /** Takes back one request for a download; it ends, and keeps what it has, when nobody else needs it. */
  cancelDownload: {
    method: 'DELETE',
    path: '/v1/models/download/{download_id}',
    params: z.object({ download_id: downloadIdSchema }),
    answer: { kind: 'json', schema: z.object({ message: z.string(), ended: z.boolean() }) },
  },
  modelVariants: {
    method: 'GET',
    path: '/v1/models/variants',
    slow: true,
    query: z.object({ model_ref: modelRefSchema }),
    answer: { kind: 'json', schema: z.object({ model_ref: z.string(), variants: z.array(modelVariantSchema) }) },
  },
  scanModels: {
    method: 'POST',
    path: '/v1/models/scan',
    slow: true,
    answer: { kind: 'json', schema: scanResultSchema },
  },
  /** Bytes of one file of a model; ranges are served. */
  readModelFile: {
    method: 'GET',
    path: '/v1/models/{id}/files/{index}',
    slow: true,
    params: modelParams.extend({ index: fileIndex }),
    answer: { kind: 'bytes' },
  },
  /** Begins to take in a model from another hive, or goes on with it. */
  importModel: {
    method: 'POST',
    path: '/v1/models/import',
    slow: true,
    body: importRequestSchema,
    answer: { kind: 'json', schema: importStateSchema, status: [202, 200] },
  },
  /** Appends the body to one file of an import, from `offset` on, which must be where the file ends now. */
  writeModelFile: {
    method: 'PUT',
    path: '/v1/models/import/{download_id}/files/{index}',
    slow: true,
    upload: true,
    params: z.object({ download_id: downloadIdSchema, index: fileIndex }),
    query: z.object({ offset: wholeNumber(Number.MAX_SAFE_INTEGER) }),
    answer: { kind: 'json', schema: z.object({ offset: z.number().int() }) },
  },
  removeModel: {
    method: 'DELETE',
    path: '/v1/models/{id}',
    params: modelParams,
    answer: { kind: 'json', schema: modelRemovalSchema },
  },
  metrics: { method: 'GET', path: '/metrics', answer: { kind: 'text' } },
  logs: { method: 'GET', path: '/v1/logs', slow: true, query: hiveLogQuerySchema, answer: { kind: 'text' } },
});
