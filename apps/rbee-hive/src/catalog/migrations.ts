import type { Migrations } from '@rbee/database';
import { type Kysely, sql } from 'kysely';

export const MIGRATIONS: Migrations = {
  '0001_models': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('models')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('provider', 'text', (column) => column.notNull().check(sql`provider in ('hf', 'local', 'builtin')`))
        .addColumn('reference', 'text', (column) => column.notNull())
        .addColumn('variant', 'text')
        .addColumn('local_path', 'text', (column) => column.notNull())
        .addColumn('size_bytes', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text')
        .addColumn('downloaded_at_unix', 'integer', (column) => column.notNull())
        .addColumn('last_used_unix', 'integer')
        .addColumn('architecture', 'text')
        .addColumn('layers', 'integer')
        .addColumn('context_length', 'integer')
        .addColumn('vocab_size', 'integer')
        .addColumn('eos_token_id', 'integer')
        .addColumn('quantization', 'text')
        .addColumn('has_chat_template', 'integer')
        .execute();
      await sql`create unique index models_by_reference on models (provider, reference, ifnull(variant, ''))`.execute(
        db,
      );
    },
  },
};
