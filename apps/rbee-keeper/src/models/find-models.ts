import { didYouMean } from '@rbee/daemon-kit/client';
import { findModel, type ModelRef, type NodeModel, parseModelRef, RbeeError } from '@rbee/protocol';
import { toModelRef } from '../inference/model-argument.js';
import type { KeeperEnvironment } from '../keeper-environment.js';
import type { QueenClient } from '../queen/queen-client.js';

/** What a user types for a model that is there: its id, its reference or the path of its file. */
export class WantedModel {
  readonly word: string;
  readonly #ref: ModelRef | undefined;

  /** Throws INVALID_MODEL_REF with the right form for what is nearly a reference. */
  constructor(word: string, env: Pick<KeeperEnvironment, 'cwd' | 'home'>) {
    this.word = word;
    // The file may lie on another machine, or be gone.
    this.#ref = parseModelRef(isId(word) ? word : toModelRef(word, env, true));
  }

  /** The models that are meant, at most one of each node. An id wins over a reference. */
  among(models: readonly NodeModel[]): NodeModel[] {
    const nodes = [...new Set(models.map(({ node }) => node))];
    return nodes.flatMap((name) => {
      const there = models.filter(({ node }) => node === name);
      const byId = there.find(({ id }) => id.toLowerCase() === this.word.toLowerCase());
      return byId ?? (this.#ref && findModel(there, this.#ref)) ?? [];
    });
  }
}

function isId(word: string): boolean {
  return /^[\w.-]+$/.test(word) && !word.toLowerCase().endsWith('.gguf');
}

/** The models of one node, or of all, that are meant. Throws MODEL_NOT_FOUND with the next command when there are none. */
export async function requireModels(queen: QueenClient, wanted: WantedModel, node?: string): Promise<NodeModel[]> {
  const { models, unasked } = await queen.listModels(node);
  const found = wanted.among(models);
  if (found.length > 0) return found;
  const elsewhere = node === undefined ? [] : wanted.among((await queen.listModels()).models);
  const left = unasked.map((each) => each.node);
  throw toMissingError(wanted.word, node, models, elsewhere, left);
}

function toMissingError(
  word: string,
  node: string | undefined,
  models: readonly NodeModel[],
  elsewhere: readonly NodeModel[],
  unasked: readonly string[],
): RbeeError {
  const near = didYouMean(word, [...new Set(models.map(({ id }) => id))]);
  const others = elsewhere.map((model) => model.node);
  const suggestion =
    others.length > 0
      ? `it is on ${others.join(', ')}: give --node ${others[0]}`
      : near === undefined
        ? 'see which models there are: rbee-keeper models list'
        : `did you mean ${near}? See which models there are: rbee-keeper models list`;
  const somewhere = unasked.length > 0 ? 'any node that could be asked' : 'any node';
  const message = node === undefined ? `there is no model ${word} on ${somewhere}` : `${node} has no model ${word}`;
  return new RbeeError('MODEL_NOT_FOUND', message, {
    details: { model: word, ...(node === undefined ? {} : { node }), ...(unasked.length > 0 ? { unasked } : {}) },
    suggestion,
  });
}
