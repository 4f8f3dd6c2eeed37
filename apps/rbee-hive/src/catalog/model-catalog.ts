import type { Model, ModelRef } from '@rbee/protocol';
import type { CatalogDatabase } from './catalog-database.js';
import { DEFAULT_BUILTIN_VARIANT, type ModelRow, toModel } from './schema.js';

export type CatalogChange = 'added' | 'changed' | 'removed';

/** Hub models are taken in this quantization when the reference names none. */
const PREFERRED_HUB_VARIANT = 'Q4_K_M';

/** The models of this machine. It reports each change of a row, except when a model was used last. */
export class ModelCatalog {
  constructor(
    private readonly database: CatalogDatabase,
    private readonly onChange: (change: CatalogChange, model: Model) => void = () => undefined,
  ) {}

  async list(provider?: Model['provider']): Promise<Model[]> {
    const rows = await this.database.use((db) => {
      const all = db.selectFrom('models').selectAll().orderBy('provider').orderBy('reference').orderBy('variant');
      return (provider === undefined ? all : all.where('provider', '=', provider)).execute();
    });
    return rows.map(toModel);
  }

  /** The row of a reference. Without a variant: the default of the bundled model, else Q4_K_M, else the first one. */
  async find(ref: ModelRef): Promise<Model | undefined> {
    const rows = await this.database.use((db) =>
      db
        .selectFrom('models')
        .selectAll()
        .where('provider', '=', ref.provider)
        .where('reference', '=', ref.reference)
        .orderBy('variant')
        .execute(),
    );
    if (ref.provider === 'local') return rows[0] && toModel(rows[0]);
    const preferred = ref.provider === 'builtin' ? DEFAULT_BUILTIN_VARIANT : PREFERRED_HUB_VARIANT;
    const exact = rows.find((row) => sameVariant(row.variant, ref.variant ?? preferred));
    const row = exact ?? (ref.variant === undefined && ref.provider === 'hf' ? rows[0] : undefined);
    return row && toModel(row);
  }

  /** Inserts a model, or replaces the facts of the row with the same reference and keeps its id and history. */
  async put(model: Omit<ModelRow, 'id' | 'last_used_unix'>, slug: string): Promise<Model> {
    const { row, change } = await this.database.use((db) =>
      db.transaction().execute(async (transaction) => {
        const known = await transaction
          .selectFrom('models')
          .selectAll()
          .where('provider', '=', model.provider)
          .where('reference', '=', model.reference)
          .where('variant', model.variant === null ? 'is' : '=', model.variant)
          .executeTakeFirst();
        if (known !== undefined) {
          const row = { ...known, ...model, downloaded_at_unix: known.downloaded_at_unix };
          await transaction.updateTable('models').set(row).where('id', '=', known.id).execute();
          return { row, change: 'changed' as const };
        }
        const taken = await transaction.selectFrom('models').select('id').where('id', 'like', `${slug}%`).execute();
        const row = { ...model, id: freeId(slug, new Set(taken.map(({ id }) => id))), last_used_unix: null };
        await transaction.insertInto('models').values(row).execute();
        return { row, change: 'added' as const };
      }),
    );
    const stored = toModel(row);
    this.onChange(change, stored);
    return stored;
  }

  async remove(model: Model): Promise<void> {
    await this.database.use((db) => db.deleteFrom('models').where('id', '=', model.id).execute());
    this.onChange('removed', model);
  }

  async markUsed(id: string, unixSeconds: number): Promise<void> {
    await this.database.use((db) =>
      db.updateTable('models').set({ last_used_unix: unixSeconds }).where('id', '=', id).execute(),
    );
  }
}

function sameVariant(a: string | null, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}

function freeId(slug: string, taken: ReadonlySet<string>): string {
  if (!taken.has(slug)) return slug;
  let suffix = 2;
  while (taken.has(`${slug}-${suffix}`)) suffix++;
  return `${slug}-${suffix}`;
}
