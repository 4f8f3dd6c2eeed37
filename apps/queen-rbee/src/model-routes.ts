import { type Call, callJson, createNarrator, type Handlers, type Narrate, orAborted } from '@rbee/daemon-kit';
import {
  hiveRoutes,
  isRbeeError,
  LOCALHOST,
  type Model,
  type NodeModels,
  parseModelRef,
  type queenRoutes,
  RbeeError,
} from '@rbee/protocol';
import type { ModelSupply } from './models/model-supply.js';
import type { LiveNode } from './node/live-node.js';
import type { NodeRouteParts } from './node-routes.js';

export interface ModelRouteParts extends Pick<NodeRouteParts, 'clock' | 'nodes'> {
  readonly supply: ModelSupply;
}

type ModelRoutes = 'listModels' | 'pullModel' | 'scanModels' | 'modelVariants' | 'removeModel';
type Asked = Pick<Call, 'correlationId' | 'signal' | 'log'>;

/** The handlers of the routes that are about the models of nodes. Where no node is named, this machine is meant. */
export function modelHandlers(parts: ModelRouteParts): Pick<Handlers<typeof queenRoutes>, ModelRoutes> {
  const { clock, nodes, supply } = parts;
  const narrator = (call: Asked, deliver: Parameters<typeof createNarrator>[0]['deliver']): Narrate =>
    createNarrator({
      ...{ service: 'queen-rbee', clock, log: call.log, deliver },
      fields: { correlation_id: call.correlationId },
    });
  /** The node with a hive that runs; one is started where none does. */
  const provideNode = async (name: string | null | undefined, call: Asked): Promise<LiveNode> => {
    const node = nodes.get(name ?? LOCALHOST);
    await node.provideHive(
      narrator(call, () => undefined),
      call.signal,
    );
    return node;
  };
  return {
    async listModels(call) {
      const { node: name } = call.query;
      if (name != null) return listOf(await provideNode(name, call), call);
      await orAborted(nodes.look(nodes.all()), call.signal);
      const lists = nodes.all().map(async (node): Promise<NodeModels> => {
        try {
          if (node.link.kind === 'local') await provideNode(node.name, call);
          return await listOf(node, call);
        } catch (error) {
          call.signal.throwIfAborted();
          if (!isRbeeError(error)) throw error;
          return { models: [], downloads: [], unasked: [{ node: node.name, reason: error.message }] };
        }
      });
      const answers = await Promise.all(lists);
      return {
        models: answers.flatMap(({ models }) => models),
        downloads: answers.flatMap(({ downloads }) => downloads),
        unasked: answers.flatMap(({ unasked }) => unasked),
        warnings: answers.flatMap(({ warnings = [] }) => warnings),
      };
    },

    async pullModel(call, stream) {
      const startedAt = clock.monotonic();
      const { model: modelRef } = call.body;
      const narrate = narrator(call, (event) => stream.send(event));
      const node = nodes.get(call.body.node ?? LOCALHOST);
      await node.provideHive(narrate, call.signal);
      const { correlationId, signal } = call;
      const listener = {
        narrate,
        pass: (event: Parameters<typeof stream.send>[0]) =>
          void stream.send(event.type === 'narration' ? { ...event, correlation_id: correlationId } : event),
      };
      const { model: supplied, ...how } = await supply.provide(node, modelRef, { correlationId, listener, signal });
      const model = supplied ?? (await enterModel(node, modelRef, call));
      const duration_ms = Math.round(clock.monotonic() - startedAt);
      stream.send({ type: 'end', node: node.name, model, ...how, duration_ms });
    },

    async scanModels(call) {
      const node = await provideNode(call.body.node, call);
      const { correlationId, signal } = call;
      const result = await callJson(node.link.hive, hiveRoutes.scanModels, { correlationId, signal });
      await node.refreshModels(call);
      return { ...result, node: node.name };
    },

    async modelVariants(call) {
      const node = await provideNode(call.query.node, call);
      const { correlationId, signal } = call;
      const query = { model_ref: call.query.model };
      const answer = await callJson(node.link.hive, hiveRoutes.modelVariants, { query, correlationId, signal });
      return { ...answer, node: node.name };
    },

    async removeModel(call) {
      const { id } = call.params;
      const node = await provideNode(call.query.node, call);
      const { correlationId, signal } = call;
      try {
        const removal = await callJson(node.link.hive, hiveRoutes.removeModel, {
          params: { id },
          correlationId,
          signal,
        });
        await node.refreshModels(call);
        return { ...removal, node: node.name };
      } catch (error) {
        if (!isRbeeError(error) || error.code !== 'MODEL_NOT_FOUND') throw error;
        const elsewhere = nodes.all().filter(({ models }) => models.some((model) => model.id === id));
        throw elsewhere.length === 0 ? error : toElsewhere(id, node, elsewhere, error);
      }
    },
  };
}

/** Throws when the hive does not answer, also where none runs. */
async function listOf(node: LiveNode, { correlationId, signal }: Asked): Promise<NodeModels> {
  const { hive, reason } = node.standing;
  if (hive !== 'running') {
    throw new RbeeError('CONNECTION_TIMEOUT', reason ?? 'no hive runs there', { details: { node: node.name } });
  }
  const { models, downloads } = await node.refreshModels({ correlationId, signal });
  const onNode = <T extends object>(each: T) => ({ ...each, node: node.name });
  const warnings = node.warnings.map((text) => onNode({ text }));
  return { models: models.map(onNode), downloads: downloads.map(onNode), unasked: [], warnings };
}

/** Has the hive look for a model that comes from no hub: a file, or one that is bundled. Throws what it says of it. */
async function enterModel(node: LiveNode, modelRef: string, { correlationId, signal }: Asked): Promise<Model> {
  const body = { model_ref: modelRef };
  await callJson(node.link.hive, hiveRoutes.downloadModel, { body, correlationId, signal });
  await node.refreshModels({ correlationId, signal });
  const ref = parseModelRef(modelRef);
  const model = ref && node.findModel(ref);
  if (model) return model;
  throw new RbeeError('MODEL_NOT_FOUND', `${modelRef} is not in the catalog of ${node.name}`, {
    details: { model_ref: modelRef, node: node.name },
    suggestion: `see which models there are: rbee-keeper models list --node ${node.name}`,
  });
}

function toElsewhere(id: string, node: LiveNode, elsewhere: readonly LiveNode[], cause: RbeeError): RbeeError {
  const names = elsewhere.map(({ name }) => name);
  return new RbeeError('MODEL_NOT_FOUND', `${node.name} has no model ${id}, but ${names.join(', ')} has`, {
    details: { ...cause.details, node: node.name, nodes: names },
    suggestion: `remove it there: rbee-keeper models rm ${id} --node ${names[0]}`,
    cause,
  });
}
