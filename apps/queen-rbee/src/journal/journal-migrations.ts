import type { Migrations } from '@rbee/database';
import { type Kysely, sql } from 'kysely';

export const JOURNAL_MIGRATIONS: Migrations = {
  '0001_tasks': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('tasks')
        .addColumn('ticket', 'integer', (column) => column.primaryKey())
        .addColumn('job_id', 'text', (column) => column.notNull().unique())
        .addColumn('run', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text', (column) => column.notNull())
        .addColumn('request', 'text')
        .addColumn('model', 'text', (column) => column.notNull())
        .addColumn('priority', 'text', (column) => column.notNull())
        .addColumn('client', 'text', (column) => column.notNull())
        .addColumn('correlation_id', 'text', (column) => column.notNull())
        .addColumn('deadline', 'integer')
        .addColumn('accepted_at', 'integer', (column) => column.notNull())
        .addColumn('node', 'text')
        .addColumn('worker_id', 'text')
        .addColumn('prompt_ids', 'text')
        .addColumn('model_digest', 'text')
        .addColumn('tokens_out', 'integer', (column) => column.notNull())
        .addColumn('resumed', 'integer', (column) => column.notNull())
        .addColumn('state', 'text', (column) => column.check(sql`state in ('ended', 'failed', 'cancelled')`))
        .addColumn('ended_at', 'integer')
        .addColumn('error', 'text')
        .addColumn('first_event', 'integer')
        .addColumn('last_event', 'integer')
        .addCheckConstraint('over', sql`(state is null) = (ended_at is null)`)
        .execute();
      // No index on the ticket: it would cost each token more than it saves, because the row of a task knows where its events lie.
      await db.schema
        .createTable('events')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('ticket', 'integer', (column) => column.notNull())
        .addColumn('run', 'integer', (column) => column.notNull())
        .addColumn('n', 'integer', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('data', 'text', (column) => column.notNull())
        .execute();
    },
  },
};
