import { z } from 'zod';
import { rejectWith } from './field.js';
import { findHostileText, reasonForRefusal } from './identifiers.js';

/** Reference of the model that comes with rbee. */
export const BUNDLED_MODEL_REF = 'builtin:honeycomb';

/** The variant that is meant when a reference names none: of the bundled model, and of a model of the hub. */
export const DEFAULT_VARIANTS = { builtin: 'q4_k_m', hf: 'Q4_K_M' } as const;

export type ModelRef =
  | { readonly provider: 'builtin'; readonly reference: string; readonly variant?: string }
  /** `variant` is a quantization, or the name of a file in the repository, with or without its folder. */
  | { readonly provider: 'hf'; readonly reference: string; readonly variant?: string }
  /** `reference` is the absolute path of the file on the node. */
  | { readonly provider: 'local'; readonly reference: string };

const ACCEPTED_FORMS = 'accepted forms: hf:org/repo, hf:org/repo:variant, file:///path/model.gguf, builtin:honeycomb';
const HF = /^hf:([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?::(\w[\w.+-]*(?:\/\w[\w.+-]*)*))?$/;
const BUILTIN = /^builtin:([a-z0-9-]+)(?::(\w[\w.-]*))?$/;
const FILE = /^file:(?:\/\/)?(\/.+)$/;
const MAX_LENGTH = 512;

/** Reads a model reference; `undefined` when it has none of the accepted forms. */
export function parseModelRef(text: string): ModelRef | undefined {
  if (text.length > MAX_LENGTH || findHostileText(text)) return undefined;
  const hub = HF.exec(text);
  if (hub) return text.includes('..') ? undefined : withVariant('hf', hub[1], hub[2]);
  const builtin = BUILTIN.exec(text);
  if (builtin) return withVariant('builtin', builtin[1], builtin[2]);
  const file = FILE.exec(text);
  return file?.[1] ? { provider: 'local', reference: file[1] } : undefined;
}

function withVariant(provider: 'hf' | 'builtin', reference = '', variant?: string): ModelRef {
  return variant === undefined ? { provider, reference } : { provider, reference, variant };
}

/** The text form of a model reference, the one that is stored, compared and shown. */
export function formatModelRef(ref: ModelRef): string {
  if (ref.provider === 'local') return `file://${ref.reference}`;
  return ref.variant === undefined
    ? `${ref.provider}:${ref.reference}`
    : `${ref.provider}:${ref.reference}:${ref.variant}`;
}

/** What tells one model from the others. */
export interface KnownModel {
  readonly provider: ModelRef['provider'];
  readonly reference: string;
  readonly variant?: string | undefined;
  /** Of a split model, its first file. */
  readonly local_path: string;
}

/**
 * The one of several models that a reference means. A variant counts as the name of a variant or of a file. Without one
 * it is the default variant or, of a hub model, the first that is there. Letter case does not matter.
 */
export function findModel<M extends KnownModel>(models: readonly M[], ref: ModelRef): M | undefined {
  const candidates = models.filter(
    ({ provider, reference }) => provider === ref.provider && reference === ref.reference,
  );
  if (ref.provider === 'local') return candidates[0];
  const wanted = (ref.variant ?? DEFAULT_VARIANTS[ref.provider]).toLowerCase();
  const exact = candidates.find(({ variant }) => variant?.toLowerCase() === wanted);
  if (exact || ref.provider === 'builtin') return exact;
  if (ref.variant === undefined) return candidates[0];
  const file = fileStem(wanted);
  return candidates.find(({ local_path }) => fileStem(local_path.toLowerCase()) === file);
}

/** Name of a model file without folder, number of its part, and extension. */
export function fileStem(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return name.replace(/\.gguf$/i, '').replace(/-\d{5}-of-\d{5}$/, '');
}

function findModelRefFault(text: string): string | undefined {
  if (parseModelRef(text)) return undefined;
  return reasonForRefusal(text, MAX_LENGTH);
}

function findPathFault(text: string): string | undefined {
  const ref = parseModelRef(text);
  if (ref?.provider !== 'local') return undefined;
  return ref.reference.split('/').some((part) => part === '.' || part === '..') ? 'path_traversal' : undefined;
}

/** A model reference as text; at most 512 characters, ASCII only. The path of a file leads nowhere else than it says. */
export const modelRefSchema = z
  .string()
  .superRefine(rejectWith('INVALID_MODEL_REF', ACCEPTED_FORMS, findModelRefFault))
  .superRefine(rejectWith('INVALID_PATH', 'the path must not contain "." or ".." as a part', findPathFault));
