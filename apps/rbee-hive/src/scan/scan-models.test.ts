import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { formatModelRef, type Model, type ScanResult } from '@rbee/protocol';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { registerBundledModels } from '../catalog/bundled-models.js';
import { CatalogDatabase } from '../catalog/catalog-database.js';
import { ModelCatalog } from '../catalog/model-catalog.js';
import { lockPartial } from '../transfer/partial-lock.js';
import { findModelFiles } from './find-model-files.js';
import { type ScanOptions, scanModels } from './scan-models.js';

let folder: string;
let clock: ManualClock;
let database: CatalogDatabase;
let catalog: ModelCatalog;

const models = (...path: string[]) => join(folder, 'models', ...path);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const tiny = (elements = 4) => makeGguf({ metadata: tinyModelMetadata(), tensors: { a: elements } });
const part = (number: number, count: number) =>
  makeGguf({
    metadata: { ...(number === 1 ? tinyModelMetadata() : {}), 'split.count': { type: 'u32', value: count } },
    tensors: { [`part${number}`]: 8 },
  });
const scan = (options: Partial<ScanOptions> = {}) =>
  scanModels({ catalog, clock, modelsDir: models(), roots: [models(), join(folder, 'root')], ...options });
const refs = (rows: readonly Model[]) => rows.map(({ model_ref }) => model_ref.replace(folder, ''));
const nothing: ScanResult = { added: [], removed: [], changed: [], refused: [], removed_partials: [] };

async function put(path: string, bytes: Buffer | string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return path;
}

async function age(path: string, days: number): Promise<void> {
  const time = clock.now() / 1000 - days * 86_400;
  await utimes(path, time, time);
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-scan-'));
  await mkdir(models());
  clock = new ManualClock();
  database = new CatalogDatabase(join(folder, 'models.db'), clock);
  catalog = new ModelCatalog(database);
});

afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

describe('files without a row', () => {
  it('get none where no reference could name them, and are told', async () => {
    const long = `${'long'.repeat(50)}/${'folder'.repeat(30)}/${'n'.repeat(200)}.gguf`;
    for (const name of ['modèle.gguf', 'two\nlines.gguf', 'red\u001b[31m.gguf', long]) await put(models(name), tiny());
    await put(models('plain name.gguf'), tiny());
    const { added, refused } = await scan();
    expect(refs(added)).toEqual(['file:///models/plain name.gguf']);
    expect(refused.map(({ reason }) => reason)).toEqual(
      Array(4).fill(expect.stringContaining('no reference can name')),
    );
  });

  it('get one: as a model of the hub in its folder, else by their path', async () => {
    await put(models('hf/org/repo/Q4_K_M/tiny.gguf'), tiny());
    await put(models('hf/org/repo/sub--tiny/tiny.gguf'), tiny(8));
    await put(models('mine.gguf'), tiny());
    await put(join(folder, 'root/deep/er/Other.GGUF'), tiny());
    const { added, ...rest } = await scan();
    expect(refs(added)).toEqual([
      'hf:org/repo:Q4_K_M',
      'hf:org/repo:sub/tiny',
      'file:///models/mine.gguf',
      'file:///root/deep/er/Other.GGUF',
    ]);
    expect(added[0]).toMatchObject({ digest: sha256(tiny()), size_bytes: tiny().length, facts: { layers: 4 } });
    expect(rest).toEqual({ removed: [], changed: [], refused: [], removed_partials: [] });
    expect((await catalog.list()).map(({ id }) => id).sort()).toEqual(added.map(({ id }) => id).sort());
    expect(await scan()).toEqual(nothing);
  });

  it('of a split model get one row', async () => {
    for (const number of [1, 2, 3]) await put(models(`hf/o/r/Q8_0/big-0000${number}-of-00003.gguf`), part(number, 3));
    const { added } = await scan();
    expect(added).toMatchObject([{ model_ref: 'hf:o/r:Q8_0', files: [{}, {}, {}], digest: expect.any(String) }]);
  });

  it('beside another one in the folder of a variant are no second model of the hub', async () => {
    await put(models('hf/o/r/Q8_0/a.gguf'), tiny());
    await put(models('hf/o/r/Q8_0/b.gguf'), tiny());
    expect(refs((await scan()).added)).toEqual(['hf:o/r:Q8_0', 'file:///models/hf/o/r/Q8_0/b.gguf']);
  });

  it('that are no models are refused, and stay', async () => {
    await put(models('text.gguf'), 'this is no model');
    await put(models('hf/o/r/Q8_0/cut.gguf'), tiny().subarray(0, -3));
    await put(models('part-00001-of-00002.gguf'), part(1, 2));
    const { refused, added } = await scan();
    expect([refused.map(({ name }) => name), added]).toEqual([
      ['hf/o/r/Q8_0/cut.gguf', 'part-00001-of-00002.gguf', 'text.gguf'],
      [],
    ]);
    expect(refused.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('truncated'),
      expect.stringContaining('missing'),
      expect.stringContaining('text.gguf'),
    ]);
    expect(await readdir(models())).toHaveLength(3);
  });

  it('that are links, later parts, or no language models are passed by', async () => {
    await put(join(folder, 'elsewhere/a.gguf'), tiny());
    await symlink(join(folder, 'elsewhere/a.gguf'), models('a.gguf'));
    await symlink(join(folder, 'elsewhere'), models('linked'));
    await put(models('big-00002-of-00002.gguf'), part(2, 2));
    await put(models('mmproj-model.gguf'), tiny());
    await put(models('readme.md'), 'text');
    expect(await scan()).toEqual(nothing);
  });

  it('that are known by another path to the same file are passed by', async () => {
    await put(join(folder, 'root/honeycomb-q8_0.gguf'), tiny());
    await symlink(join(folder, 'root'), join(folder, 'link'));
    await registerBundledModels(catalog, join(folder, 'link'), 1);
    expect(await scan()).toEqual(nothing);
  });

  it('are left to the download that fetches them, or has begun to', async () => {
    await put(models('hf/o/r/Q8_0/big-00001-of-00002.gguf'), part(1, 2));
    expect(await scan({ isFetched: (ref) => formatModelRef(ref) === 'hf:o/r:Q8_0' })).toEqual(nothing);
    const begun = await put(models('hf/o/r/Q8_0/big-00002-of-00002.gguf.0123456789abcdef.partial'), 'half');
    await age(begun, 1);
    expect(await scan()).toEqual(nothing);
  });
});

describe('rows', () => {
  it('without files go, and those of changed files are read anew', async () => {
    const [gone, changed, broken] = await Promise.all(
      ['gone', 'changed', 'broken'].map((name) => put(models(`${name}.gguf`), tiny())),
    );
    await scan();
    await catalog.markUsed('changed-q4_k_m', 77);
    await rm(gone as string);
    await writeFile(changed as string, tiny(400));
    await truncate(broken as string, 50);
    const result = await scan();
    expect(refs(result.removed).sort()).toEqual(['file:///models/broken.gguf', 'file:///models/gone.gguf']);
    expect(result.changed).toMatchObject([{ id: 'changed-q4_k_m', size_bytes: tiny(400).length, last_used_unix: 77 }]);
    expect(result.refused).toMatchObject([{ name: 'broken.gguf' }]);
  });

  it('of the hub get a digest that they lack', async () => {
    await put(models('hf/o/r/Q8_0/a.gguf'), tiny());
    await scan();
    await database.use(async (db) => {
      await db.updateTable('models').set({ digest: null }).execute();
      await db.updateTable('model_files').set({ digest: null }).execute();
    });
    expect((await scan()).changed).toMatchObject([{ digest: sha256(tiny()) }]);
  });
});

describe('partial files', () => {
  const name = 'a.gguf.0123456789abcdef.partial';

  it('go a week after somebody wrote to them, with the folders that are empty then', async () => {
    const [old, young] = [await put(models('hf/o/r/Q8_0', name), '12345'), await put(models('hf/o/s/Q8_0', name), '1')];
    await age(old, 7.1);
    await age(young, 6.9);
    expect(await scan()).toEqual({ ...nothing, removed_partials: [{ name: `hf/o/r/Q8_0/${name}`, size_bytes: 5 }] });
    expect(await readdir(models('hf/o'))).toEqual(['s']);
  });

  it('stay while somebody has them open, and outside the models folder', async () => {
    const open = await put(models('hf/o/r/Q8_0', name), '1');
    const foreign = await put(join(folder, 'root', name), '1');
    for (const path of [open, foreign]) await age(path, 100);
    const lock = await lockPartial(open);
    expect(await scan()).toEqual(nothing);
    await lock.release();
    expect((await scan()).removed_partials).toHaveLength(1);
    expect(await readdir(join(folder, 'root'))).toEqual([basename(foreign)]);
  });
});

describe('a search', () => {
  it('ends at its limits, and says so', async () => {
    for (const deep of ['a', 'a/b', 'a/b/c']) await put(models(deep, 'x.gguf'), tiny());
    const shallow = await findModelFiles([models()], undefined, { depth: 1, entries: 100 });
    expect([shallow.models.map((file) => file.name), shallow.refused]).toEqual([
      ['a/x.gguf'],
      [{ name: 'a/b', reason: 'the folder lies too deep' }],
    ]);
    const few = await findModelFiles([models()], undefined, { depth: 9, entries: 3 });
    expect(few.refused).toEqual([{ name: 'the rest', reason: 'there are more than 3 files and folders' }]);
  });

  it('looks into a folder once, also where roots lie inside each other or are links', async () => {
    await put(models('sub/x.gguf'), tiny());
    await symlink(models('sub'), join(folder, 'link'));
    const { models: found } = await findModelFiles([
      models(),
      models('sub'),
      join(folder, 'link'),
      join(folder, 'none'),
    ]);
    expect(found.map(({ path }) => path)).toEqual([models('sub/x.gguf')]);
  });

  it('can be given up', async () => {
    await put(models('a.gguf'), tiny());
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await expect(scan({ signal: abort.signal })).rejects.toThrow('enough');
    expect(await catalog.list()).toEqual([]);
  });
});
