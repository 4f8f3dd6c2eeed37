import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type Model, parseModelRef } from '@rbee/protocol';
import Database from 'better-sqlite3';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { CatalogDatabase } from './catalog-database.js';
import { digestOfFile } from './digest.js';
import { healModels } from './heal-model.js';
import { hubRefOf, registerHubModel } from './hub-models.js';
import { ModelCatalog } from './model-catalog.js';
import { describeModelFile, slugOf } from './model-file.js';

let folder: string;
let database: CatalogDatabase;
let changes: [string, string][];
let catalog: ModelCatalog;

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
const tiny = (tensors = { a: 4 }) => makeGguf({ metadata: tinyModelMetadata(), tensors });
const split = (part: number, count: number) =>
  makeGguf({
    metadata: { ...(part === 1 ? tinyModelMetadata() : {}), 'split.count': { type: 'u32', value: count } },
    tensors: { [`part${part}`]: 8 * part },
  });
const find = (text: string) => {
  const ref = parseModelRef(text);
  return ref && catalog.find(ref);
};

function open(): void {
  database = new CatalogDatabase(join(folder, 'models.db'), new ManualClock());
  catalog = new ModelCatalog(database, (change, model: Model) => changes.push([change, model.model_ref]));
}

/** Writes the files of a model of the hub and enters it. */
async function addHubModel(variant: string, files: Record<string, Buffer>, reference = 'org/repo'): Promise<Model> {
  const place = join(folder, 'hf', reference, variant);
  await mkdir(place, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, name), bytes);
  const described = Object.entries(files).map(([name, bytes]) => ({
    name,
    size_bytes: bytes.length,
    digest: sha256(bytes),
  }));
  const path = join(place, Object.keys(files)[0] ?? '');
  return registerHubModel(catalog, { reference, variant, path, files: described }, 1_900_000_000);
}

async function addFile(name: string, bytes: Buffer): Promise<Model> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  const columns = await describeModelFile(path);
  const identity = { provider: 'local' as const, reference: path, variant: null, downloaded_at_unix: 1 };
  return catalog.put({ ...identity, ...columns }, slugOf(path, columns.quantization));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-rows-'));
  changes = [];
  open();
});

afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

describe('a model of the hub', () => {
  it('has its reference with the variant, its files, and an estimate of its memory', async () => {
    const bytes = tiny();
    const model = await addHubModel('Q4_K_M', { 'tiny.Q4_K_M.gguf': bytes });
    expect(model).toMatchObject({
      id: 'tiny-q4_k_m',
      model_ref: 'hf:org/repo:Q4_K_M',
      size_bytes: bytes.length,
      digest: sha256(bytes),
      downloaded_at_unix: 1_900_000_000,
      files: [{ name: 'tiny.Q4_K_M.gguf', size_bytes: bytes.length, digest: sha256(bytes) }],
      memory: { estimated: { slots: expect.any(Number), total_bytes: expect.any(Number) } },
    });
    expect(await catalog.list()).toEqual([model]);
  });

  it('that is split has one digest from those of its parts', async () => {
    const parts = [split(1, 2), split(2, 2)];
    const names = ['big-00001-of-00002.gguf', 'big-00002-of-00002.gguf'];
    const model = await addHubModel('Q8_0', {
      [names[0] ?? '']: parts[0] as Buffer,
      [names[1] ?? '']: parts[1] as Buffer,
    });
    expect(model).toMatchObject({
      id: 'big-q4_k_m',
      size_bytes: (parts[0]?.length ?? 0) + (parts[1]?.length ?? 0),
      digest: sha256(parts.map((part) => sha256(part)).join('')),
      files: names.map((name, part) => ({
        name,
        size_bytes: parts[part]?.length,
        digest: sha256(parts[part] as Buffer),
      })),
    });
    expect(await find('hf:org/repo:big')).toEqual(model);
  });

  it.each([
    ['is no model', { 'a.gguf': Buffer.from('no model at all') }, 'magic'],
    ['lacks a part', { 'big-00001-of-00002.gguf': split(1, 2) }, 'missing_part'],
  ])('that %s is refused, and its files stay', async (_what, files, reason) => {
    await expect(addHubModel('X', files)).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL_FORMAT',
      details: { reason },
    });
    expect([await catalog.list(), await readdir(join(folder, 'hf/org/repo/X'))]).toEqual([[], Object.keys(files)]);
  });

  it('is found by what protocol says that a reference means', async () => {
    await addHubModel('Q8_0', { 'a-q8.gguf': tiny() });
    await addHubModel('Q4_K_M', { 'a-q4.gguf': tiny() });
    const variants = await Promise.all(
      ['hf:org/repo', 'hf:org/repo:q8_0', 'hf:org/repo:a-q8.gguf', 'hf:org/repo:Q2_K', 'hf:org/other'].map(
        async (text) => (await find(text))?.variant,
      ),
    );
    expect(variants).toEqual(['Q4_K_M', 'Q8_0', 'Q8_0', undefined, undefined]);
  });

  it.each([
    ['hf/org/repo/Q4_K_M/tiny.gguf', 'Q4_K_M'],
    ['hf/org/repo/tiny--x/tiny--x.gguf', 'tiny--x'],
    ['hf/org/repo/sub--deep--tiny/tiny.gguf', 'sub/deep/tiny'],
    ['hf/org/repo/sub--big/big-00001-of-00002.gguf', 'sub/big'],
    ['hf/org/repo/tiny.gguf', undefined],
    ['hf/org/repo/a b/tiny.gguf', undefined],
    ['other/org/repo/Q4_K_M/tiny.gguf', undefined],
  ])('that lies at %s has the variant %s', (path, variant) => {
    expect(hubRefOf('/models', join('/models', path))?.variant).toBe(variant);
  });
});

describe('a row', () => {
  it('is got by its id, or the ids that there are are told', async () => {
    const model = await addFile('a.gguf', tiny());
    await expect(catalog.get(model.id)).resolves.toEqual(model);
    await expect(catalog.get('b')).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', details: { ids: [model.id] } });
  });

  it('keeps what the newest worker took, until its file changes', async () => {
    const figures = {
      weights_bytes: 1,
      kv_cache_bytes: 2,
      compute_bytes: 3,
      total_bytes: 6,
      context_size: 512,
      slots: 2,
    };
    const { id, model_ref, local_path } = await addFile('a.gguf', tiny());
    await catalog.noteMemoryUsed(id, figures);
    expect((await catalog.get(id)).memory?.used).toEqual(figures);
    await catalog.noteMemoryUsed('none', figures);
    expect(changes).toEqual([
      ['added', model_ref],
      ['changed', model_ref],
    ]);
    await writeFile(local_path, tiny({ a: 4000 }));
    await catalog.markUsed(id, 77);
    expect(await find(model_ref)).toMatchObject({ id, last_used_unix: 77, size_bytes: tiny({ a: 4000 }).length });
    expect((await catalog.get(id)).memory).toEqual({ estimated: expect.anything(), used: undefined });
  });

  it('goes with its files table, once, when several find that a part is missing', async () => {
    const model = await addHubModel('Q8_0', {
      'big-00001-of-00002.gguf': split(1, 2),
      'big-00002-of-00002.gguf': split(2, 2),
    });
    await rm(join(dirname(model.local_path), 'big-00002-of-00002.gguf'));
    expect(await Promise.all([find('hf:org/repo'), find('hf:org/repo'), find(model.model_ref)])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(changes.filter(([change]) => change === 'removed')).toHaveLength(1);
    const files = await database.use((db) => db.selectFrom('model_files').selectAll().execute());
    expect(files).toEqual([]);
  });

  it('whose default variant has gone gives way to another one', async () => {
    await addHubModel('Q8_0', { 'a-q8.gguf': tiny() });
    const gone = await addHubModel('Q4_K_M', { 'a-q4.gguf': tiny() });
    await rm(gone.local_path);
    expect(await find('hf:org/repo')).toMatchObject({ variant: 'Q8_0' });
  });

  it('goes when its file is no model any more, and the file stays', async () => {
    const model = await addHubModel('Q4_K_M', { 'a.gguf': tiny() });
    await truncate(model.local_path, 100);
    expect(await find('hf:org/repo')).toBeUndefined();
    expect(await readdir(dirname(model.local_path))).toEqual(['a.gguf']);
  });

  it('that cannot be read as JSON costs its estimate only', async () => {
    await addFile('a.gguf', tiny());
    for (const profile of ['{"half', '{"other":"shape"}', '7', 'null']) {
      await database.use((db) =>
        db.updateTable('models').set({ memory_profile: profile, memory_used: '[]' }).execute(),
      );
      expect(await catalog.list()).toMatchObject([{ memory: undefined, facts: { layers: 4 } }]);
    }
    await healModels(catalog);
    expect((await catalog.list())[0]?.memory?.estimated.total_bytes).toBeGreaterThan(0);
  });
});

it('of an older version gets its files and its estimate, and keeps its digest and its use', async () => {
  await database.close();
  const file = join(folder, 'models.db');
  await rm(file, { force: true });
  const path = join(folder, 'old.gguf');
  await writeFile(path, tiny());
  writeOldCatalog(file, path, tiny().length);
  open();
  expect(await catalog.list()).toMatchObject([{ files: undefined, memory: undefined, digest: 'd'.repeat(64) }]);
  await healModels(catalog);
  expect(await catalog.list()).toMatchObject([
    {
      id: 'old',
      downloaded_at_unix: 5,
      last_used_unix: 6,
      digest: 'd'.repeat(64),
      files: [{ name: 'old.gguf', size_bytes: tiny().length, digest: 'd'.repeat(64) }],
      memory: { estimated: expect.anything() },
    },
  ]);
});

/** As the first release wrote it. */
function writeOldCatalog(file: string, path: string, size: number): void {
  const db = new Database(file);
  db.exec(`
    create table models (id text primary key, provider text not null check (provider in ('hf', 'local', 'builtin')),
      reference text not null, variant text, local_path text not null, size_bytes integer not null, digest text,
      downloaded_at_unix integer not null, last_used_unix integer, architecture text, layers integer,
      context_length integer, vocab_size integer, eos_token_id integer, quantization text, has_chat_template integer);
    create unique index models_by_reference on models (provider, reference, ifnull(variant, ''));
    create table kysely_migration (name varchar(255) not null primary key, timestamp varchar(255) not null);
    create table kysely_migration_lock (id varchar(255) not null primary key, is_locked integer default 0 not null);
    insert into kysely_migration values ('0001_models', '2030-01-01T00:00:00.000Z');
    insert into kysely_migration_lock values ('migration_lock', 0);`);
  db.prepare(
    `insert into models values ('old', 'local', @path, null, @path, @size, @digest, 5, 6, 'llama', 4, 2048, 5, 2, 'Q4_K_M', 1)`,
  ).run({ path, size, digest: 'd'.repeat(64) });
  db.close();
}

describe('a digest', () => {
  it.each([0, 1, 1024 * 1024, 3 * 1024 * 1024 + 5])('of %i bytes is the SHA-256 of the file', async (size) => {
    const bytes = Buffer.alloc(size, 'rbee');
    const path = join(folder, 'bytes');
    await writeFile(path, bytes);
    await expect(digestOfFile(path)).resolves.toBe(sha256(bytes));
  });

  it('of a large file lets other work go on, and can be given up', async () => {
    const path = join(folder, 'large');
    await writeFile(path, '');
    await truncate(path, 256 * 1024 * 1024);
    const abort = new AbortController();
    const digest = digestOfFile(path, abort.signal);
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    abort.abort(new Error('enough'));
    await expect(digest).rejects.toThrow('enough');
  });
});
