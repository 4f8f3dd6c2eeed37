import { z } from 'zod';
import { rejectWith } from './field.js';
import { findHostileText, reasonForRefusal } from './identifiers.js';

/** Reference of the model that comes with rbee. */
export const BUNDLED_MODEL_REF = 'builtin:honeycomb';

export type ModelRef =
  | { readonly provider: 'builtin'; readonly reference: string; readonly variant?: string }
  | { readonly provider: 'hf'; readonly reference: string; readonly variant?: string }
  /** `reference` is the absolute path of the file on the node. */
  | { readonly provider: 'local'; readonly reference: string };

const ACCEPTED_FORMS = 'accepted forms: hf:org/repo, hf:org/repo:variant, file:///path/model.gguf, builtin:honeycomb';
const HF = /^hf:([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?::(\w[\w.-]*))?$/;
const BUILTIN = /^builtin:([a-z0-9-]+)(?::(\w[\w.-]*))?$/;
const FILE = /^file:(?:\/\/)?(\/.+)$/;
const MAX_LENGTH = 512;

/** Reads a model reference; `undefined` when it has none of the accepted forms. */
export function parseModelRef(text: string): ModelRef | undefined {
  if (text.length > MAX_LENGTH || findHostileText(text)) return undefined;
  const hub = HF.exec(text);
  if (hub) return hub[1]?.includes('..') ? undefined : withVariant('hf', hub[1], hub[2]);
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

function findModelRefFault(text: string): string | undefined {
  if (parseModelRef(text)) return undefined;
  return reasonForRefusal(text, MAX_LENGTH);
}

/** A model reference as text; at most 512 characters, ASCII only. */
export const modelRefSchema = z
  .string()
  .superRefine(rejectWith('INVALID_MODEL_REF', ACCEPTED_FORMS, findModelRefFault));
