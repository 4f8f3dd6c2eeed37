import { z } from 'zod';
import { jobIdSchema } from './identifiers.js';
import { generationResultSchema, inferenceEventSchema, inferenceRequestSchema } from './inference.js';
import { defineRoutes } from './route.js';
import {
  canarySchema,
  loadProgressSchema,
  readyStatusSchema,
  workerHealthSchema,
  workerShutdownAnswerSchema,
  workerShutdownSchema,
} from './worker.js';

/** Everything that an llm-worker answers. */
export const workerRoutes = defineRoutes({
  health: {
    method: 'GET',
    path: '/health',
    aliases: [{ path: '/v1/health' }],
    open: true,
    answer: { kind: 'json', schema: workerHealthSchema },
  },
  ready: {
    method: 'GET',
    path: '/v1/ready',
    aliases: [{ path: '/ready' }],
    answer: { kind: 'json', schema: readyStatusSchema },
  },
  loadingProgress: {
    method: 'GET',
    path: '/v1/loading/progress',
    aliases: [{ path: '/loading/progress' }],
    answer: { kind: 'sse', events: loadProgressSchema, unnamed: true },
  },
  infer: {
    method: 'POST',
    path: '/v1/inference',
    aliases: [{ path: '/execute' }],
    slow: true,
    body: inferenceRequestSchema,
    answer: { kind: 'sse', events: inferenceEventSchema, json: generationResultSchema },
  },
  cancel: {
    method: 'DELETE',
    path: '/v1/inference/{request_id}',
    params: z.object({ request_id: jobIdSchema }),
    answer: { kind: 'empty' },
  },
  /** Makes the engine evaluate one token without touching any cache, and without counting as a job. */
  canary: { method: 'POST', path: '/v1/admin/canary', answer: { kind: 'json', schema: canarySchema } },
  shutdown: {
    method: 'POST',
    path: '/v1/admin/shutdown',
    aliases: [{ path: '/v1/shutdown' }, { path: '/shutdown' }],
    body: workerShutdownSchema,
    answer: { kind: 'json', schema: workerShutdownAnswerSchema, status: [202, 200] },
  },
});
