import { statSync } from 'node:fs';
import type { Clock, Logger } from '@rbee/daemon-kit';
import { LOCALHOST, RbeeError } from '@rbee/protocol';
import type { Kysely } from 'kysely';
import { nodeNotFound } from './node-not-found.js';
import type { NodeRecord } from './node-record.js';
import type { RegistryDatabase } from './registry-database.js';
import { type RegistrySchema, toBeehiveRow, toNodeRecord } from './registry-schema.js';

export interface NodeRegistryOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What may change of a node; a key that is there with `undefined` clears what was stored. */
export type NodeChanges = Partial<Omit<NodeRecord, 'name'>>;

/**
 * The nodes that were added, on disk. Every method throws REGISTRY_ERROR while the file cannot be used; it is tried
 * again by itself.
 */
export class NodeRegistry {
  readonly #options: NodeRegistryOptions;
  /** Uses that go on, so that closing does not take the file away from them. */
  readonly #uses = new Set<Promise<unknown>>();
  #database: Promise<RegistryDatabase> | undefined;

  private constructor(options: NodeRegistryOptions) {
    this.#options = options;
  }

  /**
   * A registry in this file, which is opened when it is needed: a damaged one does not keep the queen from starting.
   */
  static open(options: NodeRegistryOptions): NodeRegistry {
    return new NodeRegistry(options);
  }

  /** Every node, by name. */
  async list(): Promise<NodeRecord[]> {
    if (this.#isUnused()) return [];
    const rows = await this.#use((db) => db.selectFrom('beehives').selectAll().orderBy('node_name').execute());
    return rows.map(toNodeRecord);
  }

  async get(name: string): Promise<NodeRecord | undefined> {
    return this.#isUnused() ? undefined : this.#use((db) => find(db, name));
  }

  /** Throws NODE_ALREADY_EXISTS. */
  async add(record: NodeRecord): Promise<void> {
    const { numInsertedOrUpdatedRows } = await this.#use((db) =>
      db
        .insertInto('beehives')
        .values(toBeehiveRow(record))
        .onConflict((conflict) => conflict.column('node_name').doNothing())
        .executeTakeFirst(),
    );
    if (numInsertedOrUpdatedRows === 0n) throw nodeAlreadyExists(record.name);
    this.#options.log.info({ node: record.name }, `node ${record.name} was added`);
  }

  /** Changes what is named and leaves the rest. Resolves with the new record; throws NODE_NOT_FOUND. */
  async update(name: string, changes: NodeChanges): Promise<NodeRecord> {
    const updated = await this.#use((db) =>
      db.transaction().execute(async (transaction) => {
        const known = await find(transaction, name);
        if (!known) return undefined;
        const record = { ...known, ...changes, name };
        await transaction.updateTable('beehives').set(toBeehiveRow(record)).where('node_name', '=', name).execute();
        return record;
      }),
    );
    if (!updated) throw await this.#notFound(name);
    this.#options.log.debug(
      { node: name, changed: Object.keys(changes), status: updated.status },
      `node ${name} was changed`,
    );
    return updated;
  }

  /** Throws NODE_NOT_FOUND. Also removes a row that can no longer be read. */
  async remove(name: string): Promise<void> {
    const { numDeletedRows } = await this.#use((db) =>
      db.deleteFrom('beehives').where('node_name', '=', name).executeTakeFirst(),
    );
    if (numDeletedRows === 0n) {
      const { message, details } = await this.#notFound(name);
      throw new RbeeError('NODE_NOT_FOUND', message, {
        details,
        suggestion: 'see which nodes there are: rbee-keeper setup list-nodes',
      });
    }
    this.#options.log.info({ node: name }, `node ${name} was removed`);
  }

  /** The record, or NODE_NOT_FOUND. */
  async require(name: string): Promise<NodeRecord> {
    const record = await this.get(name);
    if (!record) throw await this.#notFound(name);
    return record;
  }

  /** Closes the file once everything that was begun is done. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#uses);
    await (await this.#database)?.close();
  }

  #use<T>(query: (db: Kysely<RegistrySchema>) => Promise<T>): Promise<T> {
    const use = this.#load().then((database) => database.use(query));
    this.#uses.add(use);
    const forget = () => this.#uses.delete(use);
    use.then(forget, forget);
    return use;
  }

  /** The database is loaded only when it is used: a queen without nodes starts faster without it. */
  #load(): Promise<RegistryDatabase> {
    const { file, clock } = this.#options;
    this.#database ??= import('./registry-database.js').then((module) => new module.RegistryDatabase(file, clock));
    return this.#database;
  }

  /** Whether no node was ever added. */
  #isUnused(): boolean {
    if (this.#database) return false;
    try {
      statSync(this.#options.file);
      return false;
    } catch (error) {
      // A file that is there and cannot be reached is told by who opens it.
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
  }

  async #notFound(name: string): Promise<RbeeError> {
    const names = this.#isUnused()
      ? []
      : await this.#use((db) => db.selectFrom('beehives').select('node_name as name').orderBy('node_name').execute());
    return nodeNotFound(name, [{ name: LOCALHOST }, ...names]);
  }
}

async function find(db: Kysely<RegistrySchema>, name: string): Promise<NodeRecord | undefined> {
  const row = await db.selectFrom('beehives').selectAll().where('node_name', '=', name).executeTakeFirst();
  return row && toNodeRecord(row);
}

/** The error for a name that is taken, with the commands that change or free it. */
export function nodeAlreadyExists(name: string): RbeeError {
  return new RbeeError('NODE_ALREADY_EXISTS', `there is a node ${name} already`, {
    details: { node: name },
    suggestion: `change it: rbee-keeper setup update-node --name ${name} ..., or remove it first: rbee-keeper setup remove-node --name ${name}`,
  });
}
