import { z } from 'zod';
import { optional } from './field.js';
import { jobIdSchema, nodeNameSchema, workerIdSchema } from './identifiers.js';
import { generationResultSchema } from './inference.js';
import { queenLogQuerySchema } from './log-query.js';
import { modelIdSchema } from './model.js';
import { modelRefSchema } from './model-ref.js';
import {
  addNodeSchema,
  hiveCommandEventSchema,
  hiveCommandSchema,
  hiveStatusSchema,
  installEventSchema,
  installRequestSchema,
  nodeAnswerSchema,
  nodeEventSchema,
  nodeRowSchema,
  updateNodeSchema,
} from './node.js';
import {
  nodeModelsSchema,
  nodeRemovalSchema,
  nodeScanSchema,
  nodeVariantsSchema,
  pullEventSchema,
  pullRequestSchema,
} from './node-models.js';
import {
  globalWorkerSchema,
  leaseEventSchema,
  leaseReleaseSchema,
  queenHealthSchema,
  queenSpawnEventSchema,
  queenSpawnSchema,
  workerReadinessSchema,
} from './queen.js';
import { defineRoutes } from './route.js';
import { TASK_STATES, taskDetailSchema, taskEventSchema, taskRequestSchema, taskSummarySchema } from './task.js';
import { capabilitySchema, workerSchema } from './worker.js';
import {
  workerChangeSchema,
  workerReadyReportSchema,
  workerReportAnswerSchema,
  workerReportSchema,
} from './worker-report.js';

const workerParams = z.object({ worker_id: workerIdSchema });
const reportAnswer = { kind: 'json', schema: workerReportAnswerSchema } as const;

/** Everything that the queen answers. */
export const queenRoutes = defineRoutes({
  health: {
    method: 'GET',
    path: '/health',
    aliases: [{ path: '/v1/health' }],
    open: true,
    answer: { kind: 'json', schema: queenHealthSchema },
  },
  runTask: {
    method: 'POST',
    path: '/v2/tasks',
    slow: true,
    body: taskRequestSchema,
    answer: { kind: 'sse', events: taskEventSchema, json: generationResultSchema },
  },
  listTasks: {
    method: 'GET',
    path: '/v2/tasks',
    query: z.object({ state: optional(z.enum(TASK_STATES)) }),
    answer: { kind: 'json', schema: z.object({ tasks: z.array(taskSummarySchema) }) },
  },
  showTask: {
    method: 'GET',
    path: '/v2/tasks/{job_id}',
    params: z.object({ job_id: jobIdSchema }),
    answer: { kind: 'json', schema: taskDetailSchema },
  },
  /** The events of a task from its beginning, or behind the one that `Last-Event-ID` names. */
  taskEvents: {
    method: 'GET',
    path: '/v2/tasks/{job_id}/events',
    slow: true,
    params: z.object({ job_id: jobIdSchema }),
    answer: { kind: 'sse', events: taskEventSchema },
  },
  cancelTask: {
    method: 'DELETE',
    path: '/v2/tasks/{job_id}',
    params: z.object({ job_id: jobIdSchema }),
    answer: { kind: 'empty' },
  },
  listWorkers: {
    method: 'GET',
    path: '/v2/workers/list',
    aliases: [{ path: '/v1/workers' }],
    query: z.object({ node: optional(nodeNameSchema), capability: optional(capabilitySchema) }),
    answer: { kind: 'json', schema: z.object({ workers: z.array(globalWorkerSchema) }) },
  },
  workersHealth: {
    method: 'GET',
    path: '/v2/workers/health',
    query: z.object({ node: optional(nodeNameSchema) }),
    answer: {
      kind: 'json',
      schema: z.object({ status: z.enum(['ok', 'degraded']), workers: z.array(workerReadinessSchema) }),
    },
  },
  shutdownWorker: {
    method: 'POST',
    path: '/v2/workers/shutdown',
    body: z.object({ worker_id: workerIdSchema }),
    answer: { kind: 'json', schema: z.object({ success: z.literal(true), message: z.string() }) },
  },
  spawnWorker: {
    method: 'POST',
    path: '/v2/workers/spawn',
    aliases: [{ path: '/v1/workers/spawn' }],
    slow: true,
    body: queenSpawnSchema,
    answer: { kind: 'sse', events: queenSpawnEventSchema },
  },
  pinWorker: {
    method: 'POST',
    path: '/v2/workers/pin',
    body: z.object({ worker_id: workerIdSchema, pinned: z.boolean() }),
    answer: { kind: 'json', schema: workerSchema },
  },
  /** The reports of a hive that was told where its queen is; the queen follows the hives that it knows by itself. */
  registerWorker: {
    method: 'POST',
    path: '/v2/workers/register',
    aliases: [{ path: '/v1/workers/register' }],
    body: workerReportSchema,
    answer: { ...reportAnswer, status: [201, 200] },
  },
  reportReady: {
    method: 'POST',
    path: '/v2/workers/ready',
    aliases: [{ path: '/v1/orchestrator/worker-ready' }],
    body: workerReadyReportSchema,
    answer: reportAnswer,
  },
  changeWorker: {
    method: 'PATCH',
    path: '/v2/workers/{worker_id}',
    aliases: [{ path: '/v1/workers/{worker_id}' }],
    params: workerParams,
    body: workerChangeSchema,
    answer: reportAnswer,
  },
  forgetWorker: {
    method: 'DELETE',
    path: '/v2/workers/{worker_id}',
    aliases: [{ path: '/v1/workers/{worker_id}' }],
    params: workerParams,
    answer: { kind: 'empty' },
  },
  beatWorker: {
    method: 'POST',
    path: '/v2/workers/{worker_id}/heartbeat',
    aliases: [{ path: '/v1/workers/{worker_id}/heartbeat' }],
    params: workerParams,
    body: workerChangeSchema,
    answer: reportAnswer,
  },
  addNode: {
    method: 'POST',
    path: '/v2/registry/beehives/add',
    slow: true,
    body: addNodeSchema,
    answer: { kind: 'sse', events: nodeEventSchema, json: nodeAnswerSchema },
  },
  updateNode: {
    method: 'POST',
    path: '/v2/registry/beehives/update',
    slow: true,
    body: updateNodeSchema,
    answer: { kind: 'sse', events: nodeEventSchema, json: nodeAnswerSchema },
  },
  listNodes: {
    method: 'GET',
    path: '/v2/registry/beehives/list',
    answer: { kind: 'json', schema: z.object({ nodes: z.array(nodeRowSchema) }) },
  },
  removeNode: {
    method: 'POST',
    path: '/v2/registry/beehives/remove',
    slow: true,
    body: z.object({ node_name: nodeNameSchema }),
    answer: { kind: 'json', schema: nodeAnswerSchema },
  },
  installNode: {
    method: 'POST',
    path: '/v2/registry/beehives/install',
    slow: true,
    body: installRequestSchema,
    answer: { kind: 'sse', events: installEventSchema },
  },
  listHives: {
    method: 'GET',
    path: '/v2/hives/list',
    query: z.object({ node: optional(nodeNameSchema) }),
    answer: { kind: 'json', schema: z.object({ hives: z.array(hiveStatusSchema) }) },
  },
  startHive: {
    method: 'POST',
    path: '/v2/hives/start',
    slow: true,
    body: hiveCommandSchema,
    answer: { kind: 'sse', events: hiveCommandEventSchema },
  },
  stopHive: {
    method: 'POST',
    path: '/v2/hives/stop',
    slow: true,
    body: hiveCommandSchema,
    answer: { kind: 'sse', events: hiveCommandEventSchema },
  },
  listModels: {
    method: 'GET',
    path: '/v2/models',
    aliases: [{ path: '/v2/models/list' }],
    slow: true,
    /** A node that is named has its hive started where it does not run. */
    query: z.object({ node: optional(nodeNameSchema) }),
    answer: { kind: 'json', schema: nodeModelsSchema },
  },
  pullModel: {
    method: 'POST',
    path: '/v2/models/pull',
    slow: true,
    body: pullRequestSchema,
    answer: { kind: 'sse', events: pullEventSchema },
  },
  scanModels: {
    method: 'POST',
    path: '/v2/models/scan',
    slow: true,
    body: z.object({ node: optional(nodeNameSchema) }),
    answer: { kind: 'json', schema: nodeScanSchema },
  },
  modelVariants: {
    method: 'GET',
    path: '/v2/models/variants',
    slow: true,
    query: z.object({ model: modelRefSchema, node: optional(nodeNameSchema) }),
    answer: { kind: 'json', schema: nodeVariantsSchema },
  },
  removeModel: {
    method: 'DELETE',
    path: '/v2/models/{id}',
    slow: true,
    params: z.object({ id: modelIdSchema }),
    query: z.object({ node: optional(nodeNameSchema) }),
    answer: { kind: 'json', schema: nodeRemovalSchema },
  },
  logs: { method: 'GET', path: '/v2/logs', slow: true, query: queenLogQuerySchema, answer: { kind: 'text' } },
  lease: { method: 'POST', path: '/v2/leases', slow: true, answer: { kind: 'sse', events: leaseEventSchema } },
  releaseLease: {
    method: 'DELETE',
    path: '/v2/leases/{lease_id}',
    params: z.object({ lease_id: jobIdSchema }),
    answer: { kind: 'json', schema: leaseReleaseSchema },
  },
});
