import { basename } from 'node:path';
import type { Clock, Logger, Narrate } from '@rbee/daemon-kit';
import type { Opening, Replacement } from '@rbee/database';
import { isRbeeError, type Model } from '@rbee/protocol';
import { registerBundledModels } from './bundled-models.js';
import { CatalogDatabase } from './catalog-database.js';
import { healModels } from './heal-model.js';
import { type CatalogChange, type CatalogUse, ModelCatalog } from './model-catalog.js';

export interface CatalogOptions {
  /** Path of the database. */
  file: string;
  clock: Clock;
  log: Logger;
  narrate: Narrate;
  /** Folder with the model files that come with rbee. */
  bundledModelsDir: string;
  onChange: (change: CatalogChange, model: Model) => void;
  /**
   * A new database has taken the place of one that was missing, or of a damaged one: files of models may be there without
   * rows. At the start it is called last, as `openCatalog` resolves; later in the middle of an opening, whose end every use waits for.
   */
  onMade: (replaced: Replacement | undefined) => void;
}

export interface OpenedCatalog {
  readonly catalog: ModelCatalog;
  /** The rows as they were when the catalog could last be used, for whoever must neither wait nor fail. */
  known(): Model[];
  close(): Promise<void>;
}

/**
 * Opens the catalog of a hive. The bundled models are in it from each opening on. A damaged file is set aside and replaced
 * by a new one, which the user is told. One that merely cannot be used is opened again by later uses; the hive goes on.
 * Throws CATALOG_UNAVAILABLE when this program can never use it: without its SQLite binding, or after a newer version of rbee.
 */
export async function openCatalog(options: CatalogOptions): Promise<OpenedCatalog> {
  const { file, clock, log, bundledModelsDir } = options;
  const known = new Map<string, Model>();
  let atStart: Opening | undefined;
  let started = false;
  const report = (change: CatalogChange, model: Model) => {
    if (change === 'removed') known.delete(model.id);
    else known.set(model.id, model);
    options.onChange(change, model);
  };
  const database = new CatalogDatabase(file, clock, async (db, opening) => {
    const use: CatalogUse['use'] = (query) => query(db);
    const nowUnix = Math.floor(clock.now() / 1000);
    await registerBundledModels(new ModelCatalog({ use }, report), bundledModelsDir, nowUnix, (path, error) =>
      log.error({ error, path }, 'a bundled model cannot be used'),
    );
    const rows = await new ModelCatalog({ use }).list();
    // Nobody has been told anything yet that could differ.
    if (!started) for (const model of rows) known.set(model.id, model);
    reportDifferences(rows, known, report);
    if (opening.replaced !== undefined) tellReplaced(opening.replaced, options);
    if (!opening.made) return;
    if (started) options.onMade(opening.replaced);
    else atStart = opening;
  });
  const catalog = new ModelCatalog(database, report);
  await healModels(catalog).catch((error: unknown) => {
    // A missing binding or a newer schema will not mend by itself.
    if (!isRbeeError(error) || !error.retryable) throw error;
    log.error({ error }, 'the model catalog cannot be used yet; it is opened again by later uses');
  });
  started = true;
  if (atStart !== undefined) options.onMade(atStart.replaced);
  return { catalog, known: () => [...known.values()], close: () => database.close() };
}

/** What changed while the database could not be used, or with the one that took its place. */
function reportDifferences(
  rows: readonly Model[],
  known: ReadonlyMap<string, Model>,
  report: (change: CatalogChange, model: Model) => void,
): void {
  const ids = new Set(rows.map(({ id }) => id));
  for (const model of [...known.values()]) if (!ids.has(model.id)) report('removed', model);
  for (const model of rows) if (!known.has(model.id)) report('added', model);
}

function tellReplaced(replaced: Replacement, { file, log, narrate }: CatalogOptions): void {
  log.error({ file, ...replaced }, 'the model catalog was damaged');
  const kept = replaced.backup === undefined ? 'cannot be moved' : `is kept as ${basename(replaced.backup)}`;
  const now = replaced.inMemoryBecause === undefined ? 'a new one is in use' : 'a new one is in memory only';
  const human = `the model catalog was damaged: it ${kept}, ${now}`;
  narrate({ actor: 'model-catalog', action: 'catalog_recovered', target: basename(file), human, level: 'warn' });
}
