import type { Migrations } from '@rbee/database';
import { type Kysely, sql } from 'kysely';

export const REGISTRY_MIGRATIONS: Migrations = {
  '0001_beehives': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('beehives')
        .addColumn('node_name', 'text', (column) => column.primaryKey())
        .addColumn('ssh_host', 'text')
        .addColumn('ssh_port', 'integer')
        .addColumn('ssh_user', 'text')
        .addColumn('ssh_key_path', 'text')
        .addColumn('git_repo_url', 'text')
        .addColumn('git_branch', 'text', (column) => column.notNull())
        .addColumn('install_path', 'text', (column) => column.notNull())
        .addColumn('last_connected_unix', 'integer')
        .addColumn('last_error', 'text')
        .addColumn('status', 'text', (column) =>
          column.notNull().check(sql`status in ('unknown', 'reachable', 'unreachable')`),
        )
        .addColumn('backends', 'text', (column) => column.notNull().check(sql`json_valid(backends)`))
        .addColumn('devices', 'text', (column) => column.notNull().check(sql`json_valid(devices)`))
        .addColumn('host_keys', 'text', (column) => column.notNull().check(sql`json_valid(host_keys)`))
        .addColumn('node_path', 'text')
        .addColumn('hive_port', 'integer', (column) => column.notNull())
        .addColumn('hive_url', 'text')
        .addColumn('hive_token_file', 'text')
        .addColumn('owned_pid', 'integer')
        .addColumn('owned_start_time', 'text')
        .addCheckConstraint('one_way', sql`(ssh_host is null) <> (hive_url is null)`)
        .addCheckConstraint('key_of_hive', sql`(hive_url is null) = (hive_token_file is null)`)
        .execute();
    },
  },
};
