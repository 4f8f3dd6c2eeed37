import { findModel, type MemoryFigures, type Model, type ModelRef, RbeeError } from '@rbee/protocol';
import type { Kysely } from 'kysely';
import { healModel } from './heal-model.js';
import type { FileColumns } from './model-file.js';
import { type CatalogSchema, type ModelFileRow, type ModelRow, toModel } from './schema.js';

export type CatalogChange = 'added' | 'changed' | 'removed';

/** What runs the queries of a catalog. */
export interface CatalogUse {
  use<T>(query: (db: Kysely<CatalogSchema>) => Promise<T>): Promise<T>;
}

/** A model as it is entered. */
export type NewModel = Pick<ModelRow, 'provider' | 'reference' | 'variant' | 'downloaded_at_unix'> & FileColumns;

/**
 * The models of this machine. It reports each change of a row, except when a model was used last. Every method throws
 * CATALOG_UNAVAILABLE while the database cannot be used.
 */
export class ModelCatalog {
  constructor(
    private readonly database: CatalogUse,
    private readonly onChange: (change: CatalogChange, model: Model) => void = () => undefined,
  ) {}

  /** All rows as they are, whatever has become of their files. */
  list(provider?: Model['provider']): Promise<Model[]> {
    return this.database.use((db) =>
      db.transaction().execute(async (transaction) => {
        const all = transaction.selectFrom('models').selectAll().orderBy('provider').orderBy('reference');
        const chosen = provider === undefined ? all : all.where('provider', '=', provider);
        const rows = await chosen.orderBy('variant').execute();
        const files = await transaction.selectFrom('model_files').selectAll().orderBy('part').execute();
        return rows.map((row) =>
          toModel(
            row,
            files.filter(({ model_id }) => model_id === row.id),
          ),
        );
      }),
    );
  }

  /** The model that a reference means, if its files are there. A row without them goes; changed ones are read anew. */
  async find(ref: ModelRef): Promise<Model | undefined> {
    let rows = await this.list(ref.provider);
    for (;;) {
      const row = findModel(rows, ref);
      const healed = row && (await healModel(this, row));
      if (row === undefined || healed !== undefined) return healed;
      rows = rows.filter(({ id }) => id !== row.id);
    }
  }

  /** The row with an id, whatever has become of its files. Throws MODEL_NOT_FOUND, which lists the ids that there are. */
  async get(id: string): Promise<Model> {
    const rows = await this.list();
    const found = rows.find((row) => row.id === id);
    if (found !== undefined) return found;
    throw new RbeeError('MODEL_NOT_FOUND', `no model of this node has the id ${id}`, {
      details: { model: id, ids: rows.map((row) => row.id) },
      suggestion: 'rbee-keeper models list shows the models and their ids',
    });
  }

  /** Inserts a model, or replaces the facts of the row with the same reference and keeps its id and history. */
  async put({ files, ...model }: NewModel, slug: string): Promise<Model> {
    const { stored, change } = await this.database.use((db) =>
      db.transaction().execute(async (transaction) => {
        const known = await transaction
          .selectFrom('models')
          .selectAll()
          .where('provider', '=', model.provider)
          .where('reference', '=', model.reference)
          .where('variant', model.variant === null ? 'is' : '=', model.variant)
          .executeTakeFirst();
        let row: ModelRow;
        if (known === undefined) {
          const taken = await transaction.selectFrom('models').select('id').where('id', 'like', `${slug}%`).execute();
          const id = freeId(slug, new Set(taken.map((other) => other.id)));
          row = { ...model, id, last_used_unix: null, memory_used: null };
          await transaction.insertInto('models').values(row).execute();
        } else {
          // What was measured with another file says nothing about this one.
          const memory_used = known.size_bytes === model.size_bytes ? known.memory_used : null;
          row = { ...known, ...model, downloaded_at_unix: known.downloaded_at_unix, memory_used };
          await transaction.updateTable('models').set(row).where('id', '=', known.id).execute();
          await transaction.deleteFrom('model_files').where('model_id', '=', known.id).execute();
        }
        const fileRows = files.map(
          (file, part): ModelFileRow => ({ ...file, model_id: row.id, part, digest: file.digest ?? null }),
        );
        if (fileRows.length > 0) await transaction.insertInto('model_files').values(fileRows).execute();
        return {
          stored: toModel(row, fileRows),
          change: known === undefined ? ('added' as const) : ('changed' as const),
        };
      }),
    );
    this.onChange(change, stored);
    return stored;
  }

  /** Removes a row; its files stay. */
  async remove(model: Model): Promise<void> {
    const { numDeletedRows } = await this.database.use((db) =>
      db.deleteFrom('models').where('id', '=', model.id).executeTakeFirstOrThrow(),
    );
    // Of two that find the same file gone, one removes the row.
    if (numDeletedRows > 0n) this.onChange('removed', model);
  }

  async markUsed(id: string, unixSeconds: number): Promise<void> {
    await this.database.use((db) =>
      db.updateTable('models').set({ last_used_unix: unixSeconds }).where('id', '=', id).execute(),
    );
  }

  /** Keeps what the newest worker with the model took; nothing happens when the model has gone meanwhile. */
  async noteMemoryUsed(id: string, figures: MemoryFigures): Promise<void> {
    const memory_used = JSON.stringify(figures);
    await this.database.use((db) => db.updateTable('models').set({ memory_used }).where('id', '=', id).execute());
    const model = (await this.list()).find((row) => row.id === id);
    if (model !== undefined) this.onChange('changed', model);
  }
}

function freeId(slug: string, taken: ReadonlySet<string>): string {
  if (!taken.has(slug)) return slug;
  let suffix = 2;
  while (taken.has(`${slug}-${suffix}`)) suffix++;
  return `${slug}-${suffix}`;
}
