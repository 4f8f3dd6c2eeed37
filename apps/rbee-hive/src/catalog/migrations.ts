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
  '0002_model_files': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('model_files')
        .addColumn('model_id', 'text', (column) => column.notNull().references('models.id').onDelete('cascade'))
        // From 0, in the order of the parts.
        .addColumn('part', 'integer', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('size_bytes', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text')
        .addPrimaryKeyConstraint('model_files_by_part', ['model_id', 'part'])
        .execute();
      // Both are JSON: what of the header decides the memory of a worker, and what the newest worker took.
      await db.schema.alterTable('models').addColumn('memory_profile', 'text').execute();
      await db.schema.alterTable('models').addColumn('memory_used', 'text').execute();
    },
  },
};
