import { formatModelRef, type GgufFacts, type Model, type ModelRef } from '@rbee/protocol';

/** A row of the table `models`: SQLite has no booleans, and a missing fact is null. */
export interface ModelRow {
  id: string;
  provider: Model['provider'];
  reference: string;
  variant: string | null;
  local_path: string;
  size_bytes: number;
  digest: string | null;
  downloaded_at_unix: number;
  last_used_unix: number | null;
  architecture: string | null;
  layers: number | null;
  context_length: number | null;
  vocab_size: number | null;
  eos_token_id: number | null;
  quantization: string | null;
  has_chat_template: number | null;
}

export interface CatalogSchema {
  models: ModelRow;
}

/** The variant of the bundled model that is meant when none is named. */
export const DEFAULT_BUILTIN_VARIANT = 'q4_k_m';

/** The row as the wire shows it. */
export function toModel(row: ModelRow): Model {
  return {
    id: row.id,
    provider: row.provider,
    reference: row.reference,
    model_ref: formatModelRef(refOf(row)),
    local_path: row.local_path,
    size_bytes: row.size_bytes,
    downloaded_at_unix: row.downloaded_at_unix,
    variant: row.variant ?? undefined,
    digest: row.digest ?? undefined,
    last_used_unix: row.last_used_unix ?? undefined,
    facts: toFacts(row),
  };
}

function refOf({ provider, reference, variant }: ModelRow): ModelRef {
  if (provider === 'local') return { provider, reference };
  const named = variant !== null && !(provider === 'builtin' && variant === DEFAULT_BUILTIN_VARIANT);
  return named ? { provider, reference, variant } : { provider, reference };
}

function toFacts(row: ModelRow): GgufFacts | undefined {
  const { architecture, layers, context_length, vocab_size } = row;
  if (architecture === null || layers === null || context_length === null || vocab_size === null) return undefined;
  return {
    architecture,
    layers,
    context_length,
    vocab_size,
    eos_token_id: row.eos_token_id ?? undefined,
    quantization: row.quantization ?? 'unknown',
    has_chat_template: row.has_chat_template === 1,
  };
}
