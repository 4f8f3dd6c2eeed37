import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Model } from '@rbee/protocol';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { registerBundledModels } from '../catalog/bundled-models.js';
import { CatalogDatabase } from '../catalog/catalog-database.js';
import { ModelCatalog } from '../catalog/model-catalog.js';
import type { Downloads } from '../downloads/downloads.js';
import { BUNDLED_MODELS_DIR } from '../installation.js';
import { Provisioner } from './provisioner.js';

let folder: string;
let clock: ManualClock;
let database: CatalogDatabase;
let changes: [string, string][];
let catalog: ModelCatalog;
let provisioner: Provisioner;

const models = () => join(folder, 'models');
const fileRef = (name: string) => `file://${join(models(), name)}`;
// References to files and to the bundled model never reach the hub.
const provisionerOf = (roots: string[]) =>
  new Provisioner({ catalog, clock, roots, downloads: {} as Downloads, checkWorker: async () => undefined });
const provide = async (ref: string) => (await provisioner.find(ref)) as Model;
const tiny = (tensors = { a: 4 }) => makeGguf({ metadata: tinyModelMetadata(), tensors });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-provisioner-'));
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
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_PATH', details: { reason: 'absolute_path' } });
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
