import { parseModelRef } from '@rbee/protocol';

/** The variant of the bundled model that a reference without one means. */
const BUNDLED_VARIANT = 'q4_k_m';

/** One text for all spellings of a model reference, so that they can be compared; a text that is no reference stays as it is. */
export function modelKey(modelRef: string): string {
  const ref = parseModelRef(modelRef);
  if (!ref) return modelRef;
  if (ref.provider === 'local') return `local ${ref.reference}`;
  const variant = ref.variant ?? (ref.provider === 'builtin' ? BUNDLED_VARIANT : '');
  return `${ref.provider} ${ref.reference} ${variant.toLowerCase()}`;
}

/** Tells whether references mean the same model as the given one; each spelling is read once. */
export function modelMatcher(wanted: string): (modelRef: string) => boolean {
  const key = modelKey(wanted);
  const known = new Map([[wanted, true]]);
  return (modelRef) => {
    let same = known.get(modelRef);
    if (same === undefined) {
      same = modelKey(modelRef) === key;
      known.set(modelRef, same);
    }
    return same;
  };
}
