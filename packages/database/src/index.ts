export type { DatabaseFailure } from './database-failure.js';
export type { Migrations } from './migrate.js';
export { type Opening, openDatabase, type Replacement } from './open-database.js';
export * from './sqlite-file.js';
