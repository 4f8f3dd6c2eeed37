import { DEFAULT_VARIANTS, RbeeError } from '@rbee/protocol';

/** Variants that a message lists; the details have them all. */
const LISTED = 12;
/** Variants to suggest, best first: close to the usual one in size and quality. */
const GOOD_VARIANTS = ['Q4_K_M', 'Q4_K_S', 'UD-Q4_K_XL', 'IQ4_XS', 'MXFP4', 'Q4_0', 'Q5_K_M', 'Q6_K', 'Q8_0'];

/** MODEL_NOT_FOUND for a repository (`org/repo`) that is there, but has not what the reference means. */
export function variantNotFound(repo: string, wanted: string | undefined, variants: readonly string[]): RbeeError {
  const model = `hf:${repo}`;
  const details = { model: wanted === undefined ? model : `${model}:${wanted}`, variants: [...variants] };
  const example = suggestVariant(variants, wanted);
  if (example === undefined) {
    return new RbeeError('MODEL_NOT_FOUND', `${model} has no complete GGUF file, the only format that rbee runs`, {
      details,
      suggestion: 'look on the hub for a repository of the same model whose name ends with -GGUF',
    });
  }
  const listed = variants.slice(0, LISTED).join(', ');
  const more = variants.length > LISTED ? ` and ${variants.length - LISTED} more` : '';
  const what =
    wanted === undefined ? `several variants and none named ${DEFAULT_VARIANTS.hf}` : `no single variant ${wanted}`;
  return new RbeeError('MODEL_NOT_FOUND', `${model} has ${what}; there are: ${listed}${more}`, {
    details,
    suggestion: `name one of them, for example: rbee-keeper models pull ${model}:${example}`,
  });
}

/** One whose name holds the wanted one, or is held by it; else a usual one; else the first. */
function suggestVariant(variants: readonly string[], wanted: string | undefined): string | undefined {
  const typed = wanted?.toLowerCase();
  const similar = variants.filter((variant) => {
    const name = variant.toLowerCase();
    return typed !== undefined && (name.includes(typed) || typed.includes(name));
  });
  const usual = (names: readonly string[]) => GOOD_VARIANTS.find((good) => names.includes(good));
  return usual(similar) ?? similar[0] ?? usual(variants) ?? variants[0];
}
