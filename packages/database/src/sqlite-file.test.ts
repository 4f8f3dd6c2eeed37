import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError } from '@rbee/protocol';
import Database from 'better-sqlite3';
import type { Kysely } from 'kysely';
import { toOpeningError } from './database-failure.js';
import type { Migrations } from './migrate.js';
import { SqliteFile } from './sqlite-file.js';

interface Schema {
  notes: { text: string };
}

const failure = { code: 'REGISTRY_ERROR', what: 'the notebook', suggestion: 'buy a new one' } as const;
const migrations: Migrations = {
  '0001_notes': {
    up: (db: Kysely<unknown>) =>
      db.schema
        .createTable('notes')
        .addColumn('text', 'text', (column) => column.primaryKey())
        .execute(),
  },
};

let folder: string;
let clock: ManualClock;
const opened: SqliteFile<Schema>[] = [];

function open(file: string, steps = migrations): SqliteFile<Schema> {
  const database = new SqliteFile<Schema>({ file, clock, migrations: steps, failure });
  opened.push(database);
  return database;
}

const write = (database: SqliteFile<Schema>, text: string) =>
  database.use((db) => db.insertInto('notes').values({ text }).execute());
const readAll = (database: SqliteFile<Schema>) =>
  database.use(async (db) => (await db.selectFrom('notes').select('text').execute()).map(({ text }) => text));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-database-'));
  clock = new ManualClock();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()));
  await rm(folder, { recursive: true });
});

it('makes the folder and the file for the user alone, and keeps what was written', async () => {
  const file = join(folder, 'state', 'notes.db');
  const first = open(file);
  await write(first, 'one');
  for (const [path, mode] of [
    [join(folder, 'state'), 0o700],
    [file, 0o600],
    [`${file}-wal`, 0o600],
  ] as const) {
    expect((await stat(path)).mode & 0o777).toBe(mode);
  }
  await first.close();
  await expect(stat(`${file}-wal`)).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(readAll(open(file))).resolves.toEqual(['one']);
});

it('writes ahead of time, so that a reader does not hold up a writer', async () => {
  const file = join(folder, 'notes.db');
  const database = open(file);
  await write(database, 'one');
  const reader = new Database(file, { readonly: true });
  expect(reader.pragma('journal_mode', { simple: true })).toBe('wal');
  const rows = reader.prepare('select text from notes').iterate();
  rows.next();
  await write(database, 'two');
  rows.return?.();
  reader.close();
});

it('goes through its migrations once, and through new ones later', async () => {
  const file = join(folder, 'notes.db');
  const first = open(file);
  await write(first, 'one');
  await first.close();
  const second = open(file, {
    ...migrations,
    '0002_more': { up: (db: Kysely<unknown>) => db.schema.alterTable('notes').addColumn('more', 'text').execute() },
  });
  await expect(second.use((db) => db.selectFrom('notes').selectAll().execute())).resolves.toEqual([
    { text: 'one', more: null },
  ]);
});

describe('a database that fails', () => {
  const garbage = 'this is no database, but long enough to be looked at as one. '.repeat(40);

  it('is opened again once its waiting time is over, which doubles up to 5 s', async () => {
    const file = join(folder, 'notes.db');
    await writeFile(file, garbage);
    const database = open(file);
    await expect(readAll(database)).rejects.toMatchObject({
      code: 'REGISTRY_ERROR',
      message: "the notebook can't be used: SQLITE_NOTADB",
      details: { cause: 'SQLITE_NOTADB' },
      suggestion: 'buy a new one',
    });
    const waits: number[] = [];
    for (let attempt = 0; attempt < 7; attempt++) {
      let waitedMs = 0;
      const isWaiting = async () =>
        /a moment ago/.test(
          await readAll(database).then(
            () => '',
            (error: Error) => error.message,
          ),
        );
      while (await isWaiting()) {
        await clock.advance(100);
        waitedMs += 100;
      }
      waits.push(waitedMs);
    }
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
    expect(await readFile(file, 'utf8')).toBe(garbage);
    await rm(file);
    await clock.advance(5000);
    await expect(readAll(database)).resolves.toEqual([]);
  });

  it('is dropped and opened again when it breaks while it is in use', async () => {
    const database = open(join(folder, 'notes.db'));
    await write(database, 'one');
    const broken = database.use(() =>
      Promise.reject(Object.assign(new Error('disk image is malformed'), { code: 'SQLITE_CORRUPT' })),
    );
    await expect(broken).rejects.toMatchObject({ code: 'REGISTRY_ERROR', details: { cause: 'SQLITE_CORRUPT' } });
    await expect(readAll(database)).rejects.toThrow(/a moment ago/);
    await clock.advance(200);
    await expect(readAll(database)).resolves.toEqual(['one']);
  });

  it('stays open when only a rule was broken, and lets errors of others pass', async () => {
    const database = open(join(folder, 'notes.db'));
    await write(database, 'one');
    await expect(write(database, 'one')).rejects.toMatchObject({ details: { cause: 'SQLITE_CONSTRAINT_PRIMARYKEY' } });
    const own = new RbeeError('NODE_NOT_FOUND', 'no such thing');
    await expect(database.use(() => Promise.reject(own))).rejects.toBe(own);
    await expect(readAll(database)).resolves.toEqual(['one']);
  });

  it.each([
    ['a folder where the file should be', async (file: string) => void (await mkdir(file)), /SQLITE_CANTOPEN/],
    ['a file where the folder should be', (file: string) => writeFile(join(file, '..'), ''), /ENOTDIR|EEXIST/],
  ])('says that there is %s, without the path', async (_what, prepare, expected) => {
    const file = join(folder, 'state', 'notes.db');
    if (!/folder should be/.test(_what)) await mkdir(join(folder, 'state'));
    await prepare(file);
    const refused = readAll(open(file));
    await expect(refused).rejects.toMatchObject({ code: 'REGISTRY_ERROR', message: expect.stringMatching(expected) });
    await expect(refused).rejects.not.toThrow(folder);
  });

  it('says that another version of rbee has changed the schema, and changes nothing', async () => {
    const file = join(folder, 'notes.db');
    const newer = open(file, { ...migrations, '0002_more': { up: async () => undefined } });
    await write(newer, 'one');
    await newer.close();
    await expect(readAll(open(file))).rejects.toMatchObject({
      code: 'REGISTRY_ERROR',
      message: expect.stringContaining('another version of rbee'),
      retryable: false,
    });
    await expect(readAll(open(file, { ...migrations, '0002_more': { up: async () => undefined } }))).resolves.toEqual([
      'one',
    ]);
  });

  it('that waits for a lock of another process says so', async () => {
    const busy = Object.assign(new Error('database is locked'), { code: 'SQLITE_BUSY' });
    const database = open(join(folder, 'notes.db'));
    await expect(database.use(() => Promise.reject(busy))).rejects.toMatchObject({ details: { cause: 'SQLITE_BUSY' } });
    await expect(readAll(database)).resolves.toEqual([]);
  });
});

it('tells how to compile the binding when that is what is missing', () => {
  const missing = new Error('Could not locate the bindings file. Tried: ...');
  expect(toOpeningError(failure, missing)).toMatchObject({
    code: 'REGISTRY_ERROR',
    message: expect.stringContaining('better-sqlite3'),
    suggestion: expect.stringContaining('install python3'),
    retryable: false,
  });
});

it('closes also while an opening fails', async () => {
  const file = join(folder, 'notes.db');
  await writeFile(file, 'no database at all, '.repeat(100));
  const database = open(file);
  const refused = expect(readAll(database)).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
  await database.close();
  await refused;
});
