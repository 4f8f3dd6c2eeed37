import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import Database from 'better-sqlite3';
import { type Kysely, sql } from 'kysely';
import type { Migrations } from './migrate.js';
import type { Opening } from './open-database.js';
import { SqliteFile } from './sqlite-file.js';

interface Schema {
  notes: { text: string };
}

const failure = { code: 'CATALOG_UNAVAILABLE', what: 'the notebook', suggestion: 'buy a new one' } as const;
const migrations: Migrations = {
  '0001_notes': {
    up: async (db: Kysely<unknown>) => {
      await db.schema
        .createTable('notes')
        .addColumn('text', 'text', (column) => column.primaryKey())
        .execute();
    },
  },
};
const PAGE_BYTES = 4096;

let folder: string;
let file: string;
let openings: Opening[];
const opened: SqliteFile<Schema>[] = [];

function openNotes(): SqliteFile<Schema> {
  const database = new SqliteFile<Schema>({
    ...{ file, migrations, failure, clock: new ManualClock(), replaceDamaged: true },
    prepare: async (db, opening) => {
      openings.push(opening);
      await db.selectFrom('notes').select('text').limit(1).execute();
    },
  });
  opened.push(database);
  return database;
}

const write = (database: SqliteFile<Schema>, text: string) =>
  database.use((db) => db.insertInto('notes').values({ text }).execute());
const readAll = (database: SqliteFile<Schema>) =>
  database.use(async (db) => (await db.selectFrom('notes').select('text').execute()).map(({ text }) => text));
const longText = (number: number) => `${number} `.repeat(300);

/** A closed database of many pages. */
async function writeNotes(): Promise<void> {
  const database = openNotes();
  for (let number = 0; number < 60; number++) await write(database, longText(number));
  await database.close();
  openings = [];
}

async function overwrite(path: string, at: number, bytes: Buffer): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
  await handle.close();
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-damage-'));
  file = join(folder, 'notes.db');
  openings = [];
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()));
  await rm(folder, { recursive: true });
});

describe('a damaged file', () => {
  it.each([
    ['garbage', () => writeFile(file, 'no database at all, '.repeat(400)), /NOTADB/],
    [
      'a page in its middle that was overwritten',
      () => overwrite(file, 5 * PAGE_BYTES, Buffer.alloc(PAGE_BYTES, 0x5a)),
      /./,
    ],
    ['a page of zeros', () => overwrite(file, 8 * PAGE_BYTES, Buffer.alloc(PAGE_BYTES)), /./],
    [
      'a first page whose table of contents is garbage',
      () => overwrite(file, 100, Buffer.alloc(3000, 0x11)),
      /CORRUPT|NOTADB/,
    ],
    ['a file cut in the middle of a page', () => truncate(file, 9 * PAGE_BYTES + 100), /./],
    ['a table that has gone', async () => changeSchema('drop table notes'), /SQLITE_ERROR/],
    [
      'a table that has other columns',
      async () => changeSchema('alter table notes rename column text to words'),
      /SQLITE_ERROR/,
    ],
    [
      'a schema that SQLite cannot read',
      async () => changeSchema("update sqlite_master set sql = 'nonsense'"),
      /CORRUPT/,
    ],
  ] as const)('%s is kept, and a new one takes its place', async (_what, damage, cause) => {
    await writeNotes();
    await damage();
    const damaged = await readFile(file);
    const database = openNotes();
    await expect(readAll(database)).resolves.toEqual([]);
    await write(database, 'new');
    await database.close();
    expect((await readFile(`${file}.corrupt.backup`)).equals(damaged)).toBe(true);
    expect(openings.at(-1)).toEqual({
      made: true,
      replaced: { cause: expect.stringMatching(cause), backup: `${file}.corrupt.backup` },
    });
    await expect(readAll(openNotes())).resolves.toEqual(['new']);
    expect(openings.at(-1)).toEqual({ made: false });
  });

  it('is kept beside those of earlier times', async () => {
    for (const text of ['first', 'second', 'third']) {
      await writeFile(file, `${text} piece of garbage, `.repeat(100));
      const database = openNotes();
      await readAll(database);
      await database.close();
    }
    const backups = (await readdir(folder)).filter((name) => name.includes('corrupt')).sort();
    expect(backups).toEqual(['notes.db.corrupt.backup', 'notes.db.corrupt.backup.1', 'notes.db.corrupt.backup.2']);
    const begins = await Promise.all(
      backups.map(async (name) => (await readFile(join(folder, name), 'utf8')).slice(0, 5)),
    );
    expect(begins).toEqual(['third', 'first', 'secon']);
  });

  it('takes along what had not been merged into it, so that the new one does not read that', async () => {
    await writeNotes();
    const database = openNotes();
    await write(database, 'in the write-ahead log');
    const killed = join(folder, 'killed.db');
    for (const suffix of ['', '-wal']) await copyFile(file + suffix, killed + suffix);
    await overwrite(killed, 5 * PAGE_BYTES, Buffer.alloc(4 * PAGE_BYTES, 0x5a));
    file = killed;
    await expect(readAll(openNotes())).resolves.toEqual([]);
    expect(openings.at(-1)).toMatchObject({ replaced: { backup: `${killed}.corrupt.backup` } });
  });

  it('is replaced in memory where no file can be made', async () => {
    await writeNotes();
    await writeFile(file, 'no database at all, '.repeat(400));
    // A folder of this name cannot be replaced by a file.
    for (const suffix of ['', '.1', '.2', '.3', '.4', '.5', '.6', '.7', '.8', '.9']) {
      await mkdir(join(`${file}.corrupt.backup${suffix}`, 'x'), { recursive: true });
    }
    const database = openNotes();
    await write(database, 'one');
    await expect(readAll(database)).resolves.toEqual(['one']);
    expect(openings.at(-1)).toEqual({
      made: true,
      replaced: { cause: 'SQLITE_NOTADB', inMemoryBecause: expect.stringMatching(/^[A-Z_]+$/) },
    });
    expect(await readFile(file, 'utf8')).toMatch(/^no database at all/);
  });

  it('that turns up in the middle of the work is replaced at once', async () => {
    await writeNotes();
    const database = openNotes();
    await database.use((db) => db.selectFrom('notes').select('text').limit(1).execute());
    await overwrite(file, 3 * PAGE_BYTES, Buffer.alloc(12 * PAGE_BYTES, 0x5a));
    await expect(
      database.use(async (db) => {
        await sql`pragma shrink_memory`.execute(db);
        return db.selectFrom('notes').select('text').execute();
      }),
    ).resolves.toEqual([]);
    expect(openings.at(-1)).toMatchObject({ made: true, replaced: { backup: `${file}.corrupt.backup` } });
    await write(database, 'new');
    await expect(readAll(database)).resolves.toEqual(['new']);
  });

  it('is replaced once when several uses meet it', async () => {
    await writeFile(file, 'no database at all, '.repeat(400));
    const database = openNotes();
    await Promise.all(['a', 'b', 'c'].map((text) => write(database, text)));
    await expect(readAll(database)).resolves.toEqual(['a', 'b', 'c']);
    expect(openings).toHaveLength(1);
  });
});

describe('no damage', () => {
  it('is a reported corruption of a file that is whole: it is opened again as it is', async () => {
    const database = openNotes();
    await write(database, 'one');
    let failures = 0;
    const texts = await database.use(async (db) => {
      if (failures++ === 0) throw Object.assign(new Error('malformed'), { code: 'SQLITE_CORRUPT' });
      return db.selectFrom('notes').select('text').execute();
    });
    expect([texts, openings]).toEqual([[{ text: 'one' }], [{ made: true }, { made: false }]]);
  });

  it('is a lock of another process', async () => {
    await writeNotes();
    const other = new Database(file);
    other.pragma('locking_mode = EXCLUSIVE');
    other.exec('begin exclusive');
    const refused = openNotes();
    try {
      await expect(readAll(refused)).rejects.toMatchObject({ details: { cause: 'SQLITE_BUSY' } });
    } finally {
      other.close();
    }
    expect(await readdir(folder)).not.toContain('notes.db.corrupt.backup');
  }, 10_000);

  it('is a full disk', async () => {
    await writeNotes();
    const full = Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
    const database = openNotes();
    await expect(database.use(() => Promise.reject(full))).rejects.toMatchObject({ details: { cause: 'SQLITE_FULL' } });
    await expect(readAll(database)).rejects.toThrow(/a moment ago/);
    expect(await readdir(folder)).not.toContain('notes.db.corrupt.backup');
  });
});

async function changeSchema(statement: string): Promise<void> {
  const database = new Database(file);
  database.unsafeMode(true);
  database.pragma('writable_schema = on');
  database.exec(statement);
  database.pragma('wal_checkpoint(truncate)');
  database.close();
}
