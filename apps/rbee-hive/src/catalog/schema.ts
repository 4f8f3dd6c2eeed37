import {
  DEFAULT_VARIANTS,
  formatModelRef,
  type GgufFacts,
  type MemoryFigures,
  type Model,
  type ModelFile,
  type ModelRef,
  memoryFiguresSchema,
} from '@rbee/protocol';
import type { Kysely } from 'kysely';
import { estimateMemory } from '../gguf/estimate-memory.js';
import type { MemoryProfile } from '../gguf/memory-profile.js';

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
  /** JSON of a `MemoryProfile`. */
  memory_profile: string | null;
  /** JSON of the `MemoryFigures` of the newest worker. */
  memory_used: string | null;
}

export interface ModelFileRow {
  model_id: string;
  /** From 0, in the order of the parts. */
  part: number;
  name: string;
  size_bytes: number;
  digest: string | null;
}

export interface CatalogSchema {
  models: ModelRow;
  model_files: ModelFileRow;
}

const MODEL_COLUMNS = Object.keys({
  id: 0,
  provider: 0,
  reference: 0,
  variant: 0,
  local_path: 0,
  size_bytes: 0,
  digest: 0,
  downloaded_at_unix: 0,
  last_used_unix: 0,
  architecture: 0,
  layers: 0,
  context_length: 0,
  vocab_size: 0,
  eos_token_id: 0,
  quantization: 0,
  has_chat_template: 0,
  memory_profile: 0,
  memory_used: 0,
} satisfies Record<keyof ModelRow, 0>) as (keyof ModelRow)[];

/** Throws SQLite's error unless every table and column is there. */
export async function requireSchema(db: Kysely<CatalogSchema>): Promise<void> {
  await db.selectFrom('models').select(MODEL_COLUMNS).limit(1).execute();
  await db.selectFrom('model_files').select(['model_id', 'part', 'name', 'size_bytes', 'digest']).limit(1).execute();
}

/** The row as the wire shows it, with its files in the order of their parts. */
export function toModel(row: ModelRow, files: readonly ModelFileRow[]): Model {
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
    files: files.length === 0 ? undefined : files.map(toFile),
    memory: toMemory(row),
  };
}

function refOf({ provider, reference, variant }: ModelRow): ModelRef {
  if (provider === 'local') return { provider, reference };
  const named = variant !== null && !(provider === 'builtin' && variant === DEFAULT_VARIANTS.builtin);
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

function toFile({ name, size_bytes, digest }: ModelFileRow): ModelFile {
  return { name, size_bytes, digest: digest ?? undefined };
}

/** Undefined also for a profile that another version of rbee has written in a way that is not understood. */
function toMemory(row: ModelRow): Model['memory'] {
  const profile = toProfile(row);
  if (profile === null) return undefined;
  try {
    const used = toFigures(parseJson(row.memory_used));
    // For the same context and slots as what was measured, so that the two can be compared.
    const estimated = toFigures(estimateMemory(profile, { contextSize: used?.context_size, slots: used?.slots }));
    return estimated && { estimated, used };
  } catch {
    return undefined;
  }
}

function toProfile({ memory_profile }: ModelRow): MemoryProfile | null {
  return parseJson(memory_profile) as MemoryProfile | null;
}

function toFigures(value: unknown): MemoryFigures | undefined {
  return memoryFiguresSchema.safeParse(value).data;
}

/** Null for what is no JSON: one broken cell must not make the whole catalog unreadable. */
function parseJson(json: string | null): unknown {
  try {
    return json === null ? null : JSON.parse(json);
  } catch {
    return null;
  }
}
