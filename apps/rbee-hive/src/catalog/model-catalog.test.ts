import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Model } from '@rbee/protocol';
import Database from 'better-sqlite3';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { BUNDLED_MODELS_DIR } from '../installation.js';
import { registerBundledModels } from './bundled-models.js';
import { CatalogDatabase } from './catalog-database.js';
import { ModelCatalog } from './model-catalog.js';
import { slugOf } from './model-file.js';

let folder: string;
let clock: ManualClock;
let database: CatalogDatabase;
let changes: [string, string][];
let catalog: ModelCatalog;

const tiny = (tensors = { a: 4 }) => makeGguf({ metadata: tinyModelMetadata(), tensors });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-catalog-'));
  clock = new ManualClock();
  database = new CatalogDatabase(join(folder, 'state', 'models.db'), clock);
  changes = [];
  catalog = new ModelCatalog(database, (change, model: Model) => changes.push([change, model.model_ref]));
});

afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

describe('the bundled model', () => {
  it('is in the catalog from the first start, one row for each variant', async () => {
    await registerBundledModels(catalog, BUNDLED_MODELS_DIR, 1_900_000_000);
    expect(await catalog.list('builtin')).toMatchObject([
      {
        id: 'honeycomb-q4_k_m',
        model_ref: 'builtin:honeycomb',
        variant: 'q4_k_m',
        size_bytes: 3_280_800,
        digest: 'b9ced184879f59ebee439e906c0c20d6c85b4c4d17c2040f2036d92c2600ed87',
        downloaded_at_unix: 1_900_000_000,
        facts: { architecture: 'llama', layers: 6, vocab_size: 2048, quantization: 'Q4_K_M', has_chat_template: true },
      },
      { id: 'honeycomb-q5_k_m', model_ref: 'builtin:honeycomb:q5_k_m' },
      { id: 'honeycomb-q8_0', model_ref: 'builtin:honeycomb:q8_0' },
    ]);
  });

  it('heals when the installation moves, and loses variants whose file is gone', async () => {
    const [old, moved] = [join(folder, 'old'), join(folder, 'moved')];
    await mkdir(old);
    for (const variant of ['q4_k_m', 'q8_0']) await writeFile(join(old, `honeycomb-${variant}.gguf`), tiny());
    await registerBundledModels(catalog, old, 1);
    await rename(old, moved);
    await rm(join(moved, 'honeycomb-q8_0.gguf'));
    await registerBundledModels(catalog, moved, 2);
    expect(await catalog.list()).toMatchObject([
      { id: 'honeycomb-q4_k_m', local_path: join(moved, 'honeycomb-q4_k_m.gguf'), downloaded_at_unix: 1 },
    ]);
    expect(changes).toEqual([
      ['added', 'builtin:honeycomb'],
      ['added', 'builtin:honeycomb:q8_0'],
      ['changed', 'builtin:honeycomb'],
      ['removed', 'builtin:honeycomb:q8_0'],
    ]);
  });
});

it('forgets a row whose file has vanished', async () => {
  const path = join(folder, 'honeycomb-q4_k_m.gguf');
  await writeFile(path, tiny());
  await registerBundledModels(catalog, folder, 1);
  await rm(path);
  expect(await catalog.find({ provider: 'builtin', reference: 'honeycomb' })).toBeUndefined();
  expect(changes.at(-1)).toEqual(['removed', 'builtin:honeycomb']);
});

it('keeps its rows over a restart', async () => {
  await writeFile(join(folder, 'honeycomb-q8_0.gguf'), tiny());
  await registerBundledModels(catalog, folder, 1);
  await database.close();
  const again = new CatalogDatabase(join(folder, 'state', 'models.db'), clock);
  await expect(new ModelCatalog(again).list()).resolves.toMatchObject([{ id: 'honeycomb-q8_0' }]);
  await again.close();
});

it('is written ahead of time and waits for locks', async () => {
  await catalog.list();
  const reader = new Database(join(folder, 'state', 'models.db'), { readonly: true });
  expect(reader.pragma('journal_mode', { simple: true })).toBe('wal');
  reader.close();
});

it.each([
  ['/m/TinyLlama-1.1B.Q4_K_M.gguf', 'Q4_K_M', 'tinyllama-1-1b-q4_k_m'],
  ['/m/tinyllama.gguf', 'Q8_0', 'tinyllama-q8_0'],
  ['/m/big-00001-of-00004.gguf', 'F16', 'big-f16'],
  ['/m/---.gguf', null, 'model'],
])('names %s with %s %s', (path, quantization, slug) => {
  expect(slugOf(path, quantization)).toBe(slug);
});
