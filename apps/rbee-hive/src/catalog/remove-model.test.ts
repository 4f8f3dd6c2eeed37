import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Model } from '@rbee/protocol';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { registerBundledModels } from './bundled-models.js';
import { CatalogDatabase } from './catalog-database.js';
import { registerHubModel } from './hub-models.js';
import { ModelCatalog } from './model-catalog.js';
import { describeModelFile, slugOf } from './model-file.js';
import { removeModel } from './remove-model.js';

let folder: string;
let database: CatalogDatabase;
let catalog: ModelCatalog;
let workers: string[];

const modelsDir = () => join(folder, 'models');
const tiny = makeGguf({ metadata: { ...tinyModelMetadata() }, tensors: { a: 4 } });
const part = (number: number) =>
  makeGguf({
    metadata: { ...(number === 1 ? tinyModelMetadata() : {}), 'split.count': { type: 'u32', value: 2 } },
    tensors: { [`part${number}`]: 8 },
  });
const remove = (model: Model, dir = modelsDir()) =>
  removeModel({ catalog, modelsDir: dir, inUse: () => workers }, model.id);

async function addHubModel(variant: string, contents: Record<string, Buffer>): Promise<Model> {
  const place = join(modelsDir(), 'hf/org/repo', variant);
  await mkdir(place, { recursive: true });
  for (const [name, bytes] of Object.entries(contents)) await writeFile(join(place, name), bytes);
  const files = Object.entries(contents).map(([name, bytes]) => ({ name, size_bytes: bytes.length }));
  const path = join(place, files[0]?.name ?? '');
  return registerHubModel(catalog, { reference: 'org/repo', variant, path, files }, 1);
}

async function addFile(path: string): Promise<Model> {
  const columns = await describeModelFile(path);
  const identity = { provider: 'local' as const, reference: path, variant: null, downloaded_at_unix: 1 };
  return catalog.put({ ...identity, ...columns }, slugOf(path, null));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-remove-'));
  await mkdir(join(modelsDir(), 'hf'), { recursive: true });
  database = new CatalogDatabase(join(folder, 'models.db'), new ManualClock());
  catalog = new ModelCatalog(database);
  workers = [];
});

afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

it('deletes all parts, the row, and the folders that are empty then', async () => {
  const one = await addHubModel('Q8_0', { 'a-00001-of-00002.gguf': part(1), 'a-00002-of-00002.gguf': part(2) });
  const other = await addHubModel('Q4_K_M', { 'b.gguf': tiny });
  expect(await remove(one)).toEqual({ model: one, freed_bytes: one.size_bytes, file_removed: true });
  expect(await readdir(join(modelsDir(), 'hf/org/repo'))).toEqual(['Q4_K_M']);
  await writeFile(join(dirname(other.local_path), 'notes.txt'), 'mine');
  await remove(other);
  expect(await readdir(join(modelsDir(), 'hf/org/repo/Q4_K_M'))).toEqual(['notes.txt']);
  expect(await catalog.list()).toEqual([]);
});

it('leaves the folder of the hub itself', async () => {
  await remove(await addHubModel('Q8_0', { 'a.gguf': tiny }));
  expect(await readdir(modelsDir())).toEqual(['hf']);
});

it('deletes a file that was put into the models folder, also where that is reached through a link', async () => {
  await writeFile(join(modelsDir(), 'mine.gguf'), tiny);
  const link = join(folder, 'link');
  await symlink(modelsDir(), link);
  const removal = await remove(await addFile(join(modelsDir(), 'mine.gguf')), link);
  expect([removal.file_removed, await readdir(modelsDir())]).toEqual([true, ['hf']]);
});

it('leaves a file outside, and forgets it', async () => {
  const path = join(folder, 'models-of-mine.gguf');
  await writeFile(path, tiny);
  const model = await addFile(path);
  expect(await remove(model)).toEqual({ model, freed_bytes: 0, file_removed: false });
  expect([await catalog.list(), (await readdir(folder)).includes(basename(path))]).toEqual([[], true]);
});

it('removes the row of a file that has gone already', async () => {
  const model = await addHubModel('Q8_0', { 'a.gguf': tiny });
  await rm(model.local_path);
  expect(await remove(model)).toMatchObject({ freed_bytes: 0 });
  expect(await catalog.list()).toEqual([]);
});

it('removes all rows of one file', async () => {
  const model = await addHubModel('Q8_0', { 'a.gguf': tiny });
  await addFile(model.local_path);
  await remove(model);
  expect(await catalog.list()).toEqual([]);
});

it('refuses what comes with rbee, what is not there, and what workers use', async () => {
  await writeFile(join(folder, 'honeycomb-q8_0.gguf'), tiny);
  await registerBundledModels(catalog, folder, 1);
  const [bundled] = await catalog.list();
  await expect(remove(bundled as Model)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  const model = await addHubModel('Q8_0', { 'a.gguf': tiny });
  await expect(remove({ ...model, id: 'none' })).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  workers = ['worker-1', 'worker-2'];
  await expect(remove(model)).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: 'hf:org/repo:Q8_0 is used by the workers worker-1, worker-2',
    details: { workers },
    suggestion: expect.stringContaining('rbee-keeper workers shutdown --id worker-1'),
  });
  expect(await catalog.list()).toHaveLength(2);
  expect(await readdir(dirname(model.local_path))).toEqual(['a.gguf']);
});

it('keeps the row, and the first file, when a file cannot be deleted', async () => {
  const [first, second] = ['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf'];
  const model = await addHubModel('Q8_0', { [first]: part(1), [second]: part(2) });
  const place = dirname(model.local_path);
  // A folder in the place of a file, because the superuser may delete any file.
  await rm(join(place, second));
  await mkdir(join(place, second));
  await expect(remove(model)).rejects.toMatchObject({ code: 'FORBIDDEN', details: { cause: expect.any(String) } });
  expect([await catalog.list(), await readdir(place)]).toEqual([[model], [first, second]]);
});
