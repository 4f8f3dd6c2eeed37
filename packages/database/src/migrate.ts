import { type Kysely, type Migration, Migrator } from 'kysely';

/** Steps to the newest schema by name, applied in the order of their names; one that was released is never changed. */
export type Migrations = Readonly<Record<string, Migration>>;

/** Brings a database to the newest schema; throws what the failing step threw, or a `NewerSchemaError`. */
export async function migrate<Schema>(db: Kysely<Schema>, migrations: Migrations): Promise<void> {
  const provider = { getMigrations: async () => migrations };
  const { error } = await new Migrator({ db, provider }).migrateToLatest();
  if (error === undefined) return;
  // The only way to tell it: Kysely found a step applied that is not among ours.
  if (error instanceof Error && /^corrupted migrations/.test(error.message)) {
    throw new NewerSchemaError('it was written by another version of rbee', { cause: error });
  }
  throw error;
}

/** The database knows steps that this version does not. */
export class NewerSchemaError extends Error {
  override readonly name = 'NewerSchemaError';
}
