import { copyFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Model } from '@rbee/protocol';
import Database from 'better-sqlite3';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import type { Downloads } from '../downloads/downloads.js';
import { BUNDLED_MODELS_DIR } from '../installation.js';
import { Provisioner } from '../provisioning/provisioner.js';
import { registerBundledModels } from './bundled-models.js';
import { CatalogDatabase } from './catalog-database.js';
import { ModelCatalog } from './model-catalog.js';
import { slugOf } from './model-file.js';

let folder: string;
let clock: ManualClock;
let database: CatalogDatabase;
let changes: [string, string][];
let catalog: ModelCatalog;
let provisioner: Provisioner;

const models = () => join(folder, 'models');
const fileRef = (name: string) => `file://${join(models(), name)}`;
// References to files and to the bundled model never reach the hub.
const provisionerOf = (roots: string[]) => new Provisioner({ catalog, clock, roots, downloads: {} as Downloads, checkWorker: async () => undefined });
const provide = async (ref: string) => (await provisioner.find(ref)) as Model;
const tiny = (tensors = { a: 4 }) => makeGguf({ metadata: tinyModelMetadata(), tensors });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-catalog-'));
  await mkdir(models());
  clock = new ManualClock();
  database = new CatalogDatabase(join(folder, 'state', 'models.db'), clock);
  changes = [];
  catalog = new ModelCatalog(database, (change, model: Model) => changes.push([change, model.model_ref]));
  provisioner = provisionerOf([models()]);
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

  it.each([
    ['builtin:honeycomb', 'q4_k_m'],
    ['builtin:honeycomb:q4_k_m', 'q4_k_m'],
    ['builtin:honeycomb:Q8_0', 'q8_0'],
  ])('is provided as %s', async (ref, variant) => {
    await registerBundledModels(catalog, BUNDLED_MODELS_DIR, 1);
    await expect(provide(ref)).resolves.toMatchObject({ variant });
  });

  it('names the variants there are when an unknown one is asked for', async () => {
    await registerBundledModels(catalog, BUNDLED_MODELS_DIR, 1);
    await expect(provide('builtin:honeycomb:q2_k')).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      details: { variants: ['q4_k_m', 'q5_k_m', 'q8_0'] },
    });
  });
});

describe('file references', () => {
  it('are registered on first use and found again', async () => {
    await writeFile(join(models(), 'My Tiny.gguf'.replace(' ', '-')), tiny());
    const ref = fileRef('My-Tiny.gguf');
    const model = await provide(ref);
    expect(model).toMatchObject({
      id: 'my-tiny-q4_k_m',
      provider: 'local',
      model_ref: ref,
      facts: { layers: 4, vocab_size: 5, eos_token_id: 2 },
    });
    await provisioner.markUsed(model);
    await expect(provide(ref)).resolves.toMatchObject({
      id: model.id,
      last_used_unix: Math.floor(clock.now() / 1000),
    });
    expect(changes).toEqual([['added', ref]]);
  });

  it('get new facts when the file has changed, and go when it has vanished', async () => {
    const ref = fileRef('a.gguf');
    await writeFile(join(models(), 'a.gguf'), tiny());
    const before = await provide(ref);
    await writeFile(join(models(), 'a.gguf'), tiny({ a: 4000 }));
    const after = await provide(ref);
    expect([after.id, after.size_bytes > before.size_bytes]).toEqual([before.id, true]);
    await rm(join(models(), 'a.gguf'));
    await expect(provide(ref)).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(await catalog.list()).toEqual([]);
    expect(changes.map(([change]) => change)).toEqual(['added', 'changed', 'removed']);
  });

  it('give two files of one name different ids', async () => {
    for (const sub of ['x', 'y']) {
      await mkdir(join(models(), sub));
      await writeFile(join(models(), sub, 'same.gguf'), tiny());
    }
    const ids = [await provide(fileRef('x/same.gguf')), await provide(fileRef('y/same.gguf'))];
    expect(ids.map(({ id }) => id)).toEqual(['same-q4_k_m', 'same-q4_k_m-2']);
  });

  it.each([
    ['a missing file', 'none.gguf', 'MODEL_NOT_FOUND', undefined],
    ['a folder', 'folder.gguf', 'INVALID_PATH', 'not_a_file'],
    ['a way out by dots', '../models/a.gguf', 'INVALID_PATH', 'path_traversal'],
    ['a linked file', 'linked.gguf', 'INVALID_PATH', 'symlink'],
    ['a linked folder', 'linked-folder/a.gguf', 'INVALID_PATH', 'symlink'],
    ['no model', 'text.gguf', 'UNSUPPORTED_MODEL_FORMAT', 'magic'],
    ['another extension', 'model.bin', 'UNSUPPORTED_MODEL_FORMAT', 'extension'],
    ['a truncated model', 'cut.gguf', 'UNSUPPORTED_MODEL_FORMAT', 'truncated'],
  ])('to %s are refused', async (_what, name, code, reason) => {
    const outside = join(folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'a.gguf'), tiny());
    await writeFile(join(models(), 'a.gguf'), tiny());
    await mkdir(join(models(), 'folder.gguf'));
    await symlink(join(outside, 'a.gguf'), join(models(), 'linked.gguf'));
    await symlink(outside, join(models(), 'linked-folder'));
    await writeFile(join(models(), 'text.gguf'), 'this is no model');
    await copyFile(join(models(), 'a.gguf'), join(models(), 'model.bin'));
    await writeFile(join(models(), 'cut.gguf'), tiny().subarray(0, -3));
    await expect(provide(`file://${models()}/${name}`)).rejects.toMatchObject({
      code,
      details: reason === undefined ? {} : { reason },
    });
    expect(await catalog.list()).toEqual([]);
  });

  it('outside the roots are refused without naming the path', async () => {
    const refused = provide('file:///etc/passwd');
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_PATH', details: { reason: 'outside_root' } });
    await expect(refused).rejects.not.toThrow(/passwd/);
  });

  it('may go through a root that is itself a link', async () => {
    const link = join(folder, 'link');
    await symlink(models(), link);
    await writeFile(join(models(), 'a.gguf'), tiny());
    const linked = provisionerOf([link]);
    await expect(linked.find(`file://${link}/a.gguf`)).resolves.toMatchObject({ provider: 'local' });
  });
});

it('forgets a row whose file has vanished', async () => {
  const path = join(folder, 'honeycomb-q4_k_m.gguf');
  await writeFile(path, tiny());
  await registerBundledModels(catalog, folder, 1);
  await rm(path);
  await expect(provide('builtin:honeycomb')).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  expect(changes.at(-1)).toEqual(['removed', 'builtin:honeycomb']);
});

it('keeps its rows over a restart', async () => {
  await writeFile(join(models(), 'a.gguf'), tiny());
  await provide(fileRef('a.gguf'));
  await database.close();
  const again = new CatalogDatabase(join(folder, 'state', 'models.db'), clock);
  await expect(new ModelCatalog(again).list()).resolves.toMatchObject([{ model_ref: fileRef('a.gguf') }]);
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
