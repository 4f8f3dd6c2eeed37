export type { DatabaseFailure } from './database-failure.js';
export type { Migrations } from './migrate.js';
export * from './sqlite-file.js';
