import { z } from 'zod';
import { optional } from './field.js';
import { backendStatusSchema, hiveEventSchema, hiveHealthSchema, resourcesSchema, workerBinarySchema } from './hive.js';
import { workerIdSchema } from './identifiers.js';
import { hiveLogQuerySchema } from './log-query.js';
import { modelSchema } from './model.js';
import { defineRoutes } from './route.js';
import {
  heartbeatSchema,
  readyCallbackSchema,
  spawnAnswerSchema,
  spawnRequestSchema,
  workerDetailSchema,
  workerSchema,
  workerStartEventSchema,
} from './worker.js';

const workerParams = z.object({ worker_id: workerIdSchema });
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
    // A worker calls back with its own key, which only the handler can check.
    open: true,
    body: readyCallbackSchema,
    answer: { kind: 'json', schema: acknowledgement },
  },
  heartbeat: {
    method: 'POST',
    path: '/v1/heartbeat',
    open: true,
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
    answer: { kind: 'json', schema: z.object({ models: z.array(modelSchema) }) },
  },
  logs: { method: 'GET', path: '/v1/logs', slow: true, query: hiveLogQuerySchema, answer: { kind: 'text' } },
});
