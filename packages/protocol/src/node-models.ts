import { z } from 'zod';
import { activeDownloadSchema, modelRemovalSchema, scanResultSchema } from './download.js';
import { acceptAliases, optional } from './field.js';
import { nodeNameSchema } from './identifiers.js';
import { errorEventSchema } from './inference.js';
import { modelSchema, modelVariantSchema } from './model.js';
import { modelRefSchema } from './model-ref.js';
import { narrationSchema } from './narration.js';
import { progressEventSchema } from './worker.js';

const onNode = { node: z.string() };

/** The models of the nodes, and which nodes could not be asked. */
export const nodeModelsSchema = z.object({
  models: z.array(modelSchema.extend(onNode)),
  downloads: z.array(activeDownloadSchema.extend(onNode)),
  /** Nodes that were left out, with the reason. */
  unasked: z.array(z.object({ ...onNode, reason: z.string() })),
  /** What hives want their users to know, for example that a damaged catalog was replaced. */
  warnings: optional(z.array(z.object({ ...onNode, text: z.string() }))),
});
export type NodeModels = z.output<typeof nodeModelsSchema>;
export type NodeModel = NodeModels['models'][number];

/** Body of `POST /v2/models/pull`. */
export const pullRequestSchema = acceptAliases(
  { model_ref: 'model' },
  z.object({
    model: modelRefSchema,
    /** Left out: this machine. */
    node: optional(nodeNameSchema),
  }),
);
export type PullRequest = z.output<typeof pullRequestSchema>;

/** How a model came to a node: it was there, another node gave it, or the hub did. */
export const pullEndSchema = z.object({
  type: z.literal('end'),
  ...onNode,
  model: modelSchema,
  source: z.enum(['catalog', 'node', 'hub']),
  /** The node that gave it. */
  from: optional(z.string()),
  duration_ms: z.number(),
});

export const pullEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  progressEventSchema,
  pullEndSchema,
  errorEventSchema,
]);
export type PullEvent = z.output<typeof pullEventSchema>;

/** What a hub repository offers; `node` is the one that asked the hub. */
export const nodeVariantsSchema = z.object({
  ...onNode,
  /** Without a variant. */
  model_ref: z.string(),
  variants: z.array(modelVariantSchema),
});
export type NodeVariants = z.output<typeof nodeVariantsSchema>;

export const nodeScanSchema = scanResultSchema.extend(onNode);
export type NodeScan = z.output<typeof nodeScanSchema>;

export const nodeRemovalSchema = modelRemovalSchema.extend(onNode);
export type NodeRemoval = z.output<typeof nodeRemovalSchema>;
