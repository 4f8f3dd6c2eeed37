import { DEFAULT_VARIANTS, findModel, type KnownModel, type ModelRef, parseModelRef } from '@rbee/protocol';

/**
 * One text for all spellings of a model reference that mean the same on every node, so that they can be compared; a text
 * that is no reference stays as it is.
 */
export function modelKey(modelRef: string): string {
  const ref = parseModelRef(modelRef);
  return ref ? keyOf(ref) : modelRef;
}

/** Whether two references may mean the same model, as far as can be told without a catalog: the default variant need not be named. */
export function mayBeSameModel(one: string, other: string): boolean {
  return withDefaultVariant(one) === withDefaultVariant(other);
}

/** Tells what is the wanted model, on each node by what that node's catalog says; each spelling is read once. */
export class ModelMatcher {
  readonly wanted: ModelRef | undefined;
  readonly #key: string;
  readonly #spellings = new Map<string, { readonly ref: ModelRef | undefined; readonly same: boolean }>();

  constructor(wanted: string) {
    this.wanted = parseModelRef(wanted);
    this.#key = modelKey(wanted);
  }

  /** The wanted model among those of a node. */
  find<M extends KnownModel>(models: readonly M[]): M | undefined {
    return this.wanted && findModel(models, this.wanted);
  }

  /** Whether a reference may mean the wanted model on some node. */
  mayMatch(modelRef: string): boolean {
    const { ref, same } = this.#read(modelRef);
    if (same || !ref || !this.wanted) return same;
    return ref.provider === this.wanted.provider && ref.reference === this.wanted.reference;
  }

  /** Whether a reference means the wanted model on a node that has these models. */
  matches(modelRef: string, models: readonly KnownModel[]): boolean {
    const { ref, same } = this.#read(modelRef);
    if (same) return true;
    if (!ref || !this.wanted || ref.provider === 'local') return false;
    if (ref.provider !== this.wanted.provider || ref.reference !== this.wanted.reference) return false;
    const found = this.find(models);
    return found !== undefined && found === findModel(models, ref);
  }

  #read(modelRef: string) {
    let spelling = this.#spellings.get(modelRef);
    if (!spelling) {
      const ref = parseModelRef(modelRef);
      spelling = { ref, same: (ref ? keyOf(ref) : modelRef) === this.#key };
      this.#spellings.set(modelRef, spelling);
    }
    return spelling;
  }
}

function keyOf(ref: ModelRef): string {
  if (ref.provider === 'local') return `local ${ref.reference}`;
  // Which variant of a hub model is meant without one depends on what the node, or the repository, has.
  const variant = ref.variant ?? (ref.provider === 'builtin' ? DEFAULT_VARIANTS.builtin : '');
  return `${ref.provider} ${ref.reference} ${variant.toLowerCase()}`;
}

function withDefaultVariant(modelRef: string): string {
  const ref = parseModelRef(modelRef);
  return ref?.provider === 'hf' ? keyOf({ ...ref, variant: ref.variant ?? DEFAULT_VARIANTS.hf }) : modelKey(modelRef);
}
