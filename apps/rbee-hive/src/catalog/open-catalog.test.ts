import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNarrator, silentLogger, sleep, systemClock } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Narration } from '@rbee/protocol';
import Database from 'better-sqlite3';
import { sql } from 'kysely';
import { makeGguf, tinyModelMetadata } from '../../test/synthetic-gguf.js';
import { registerHubModel } from './hub-models.js';
import type { CatalogUse, ModelCatalog } from './model-catalog.js';
import { type OpenedCatalog, openCatalog } from './open-catalog.js';

let folder: string;
let file: string;
let clock: ManualClock;
let changes: [string, string][];
let told: Narration[];
let made: unknown[];
const opened: OpenedCatalog[] = [];

const bundled = () => join(folder, 'bundled');
const tiny = makeGguf({ metadata: tinyModelMetadata(), tensors: { a: 4 } });

async function openAgain(onMade = (replaced: unknown) => void made.push(replaced)): Promise<OpenedCatalog> {
  const log = silentLogger;
  const catalog = await openCatalog({
    ...{ file, clock, log, bundledModelsDir: bundled() },
    narrate: createNarrator({ service: 'rbee-hive', clock, log, deliver: (event) => told.push(event) }),
    onChange: (change, model) => changes.push([change, model.model_ref]),
    onMade,
  });
  opened.push(catalog);
  return catalog;
}

/** A catalog with the bundled model and one of the hub, closed again. */
async function fill(): Promise<void> {
  const { catalog, close } = await openAgain();
  const place = join(folder, 'hf/org/repo/Q4_K_M');
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'hub.gguf'), tiny);
  const files = [{ name: 'hub.gguf', size_bytes: tiny.length, digest: 'a'.repeat(64) }];
  await registerHubModel(
    catalog,
    { reference: 'org/repo', variant: 'Q4_K_M', path: join(place, 'hub.gguf'), files },
    1,
  );
  await close();
  for (const heard of [changes, told, made]) heard.length = 0;
}

async function overwrite(at: number, bytes: Buffer): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
  await handle.close();
}

/** Reaches past the catalog, for faults that it has no method for. */
function useDatabase(catalog: ModelCatalog, query: Parameters<CatalogUse['use']>[0]): Promise<unknown> {
  return (Reflect.get(catalog, 'database') as CatalogUse).use(query);
}

function changeSchema(statement: string): void {
  const database = new Database(file);
  database.exec(statement);
  database.close();
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-open-catalog-'));
  file = join(folder, 'models.db');
  clock = new ManualClock();
  [changes, told, made] = [[], [], []];
  await mkdir(bundled());
  await writeFile(join(bundled(), 'honeycomb-q4_k_m.gguf'), tiny);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map(({ close }) => close()));
  await rm(folder, { recursive: true });
});

it('has the bundled models from the first moment, and says that it is new', async () => {
  const { catalog, known } = await openAgain();
  expect(await catalog.list()).toMatchObject([{ model_ref: 'builtin:honeycomb' }]);
  expect(known()).toEqual(await catalog.list());
  expect([changes, told, made]).toEqual([[['added', 'builtin:honeycomb']], [], [undefined]]);
});

it('says so only when it is there for whoever is told', async () => {
  const order: string[] = [];
  await openAgain(() => void setImmediate(() => order.push('told')));
  order.push('opened');
  await new Promise((resolve) => setImmediate(resolve));
  expect(order).toEqual(['opened', 'told']);
});

it('is not new the second time', async () => {
  await fill();
  const { known } = await openAgain();
  expect(known()).toMatchObject([{ provider: 'builtin' }, { provider: 'hf' }]);
  expect([changes, told, made]).toEqual([[], [], []]);
});

it('loses rows whose files have gone', async () => {
  await fill();
  await rm(join(folder, 'hf'), { recursive: true });
  const { known } = await openAgain();
  expect([known().length, changes]).toEqual([1, [['removed', 'hf:org/repo:Q4_K_M']]]);
});

it('leaves out a bundled model that is damaged', async () => {
  await writeFile(join(bundled(), 'honeycomb-q8_0.gguf'), 'no model');
  const { known } = await openAgain();
  expect(known()).toMatchObject([{ variant: 'q4_k_m' }]);
});

describe('a damaged catalog', () => {
  it.each([
    ['garbage', () => writeFile(file, 'no database at all, '.repeat(400))],
    ['with a page of garbage', () => overwrite(4096, Buffer.alloc(4096, 0x5a))],
    ['cut short', () => truncate(file, 6000)],
    ['without one of its tables', async () => changeSchema('drop table model_files')],
  ])('that is %s is set aside, the user is told, and the hive goes on', async (_what, damage) => {
    await fill();
    await damage();
    const { catalog } = await openAgain();
    expect(await catalog.list()).toMatchObject([{ model_ref: 'builtin:honeycomb' }]);
    expect(made).toEqual([expect.objectContaining({ backup: `${file}.corrupt.backup` })]);
    expect(told).toMatchObject([
      {
        action: 'catalog_recovered',
        level: 'warn',
        human: 'the model catalog was damaged: it is kept as models.db.corrupt.backup, a new one is in use',
      },
    ]);
    expect(await readdir(folder)).toContain('models.db.corrupt.backup');
  });

  it('that turns up later is replaced too, and its models are reported as gone', async () => {
    await fill();
    const { catalog, known } = await openAgain();
    await overwrite(0, Buffer.alloc((await stat(file)).size, 0x5a));
    await rm(`${file}-wal`, { force: true });
    // What is in memory hides the damage until it is read again.
    await useDatabase(catalog, (db) => sql`pragma shrink_memory`.execute(db));
    expect(await catalog.list()).toMatchObject([{ model_ref: 'builtin:honeycomb' }]);
    expect(changes).toEqual([
      ['added', 'builtin:honeycomb'],
      ['removed', 'hf:org/repo:Q4_K_M'],
    ]);
    expect([known().length, told.length, made.length]).toEqual([1, 1, 1]);
  });

  it('that can be neither moved nor replaced is replaced in memory', async () => {
    await fill();
    await writeFile(file, 'no database at all, '.repeat(400));
    for (const suffix of ['', ...Array.from({ length: 9 }, (_, index) => `.${index + 1}`)]) {
      await mkdir(join(`${file}.corrupt.backup${suffix}`, 'x'), { recursive: true });
    }
    const { catalog } = await openAgain();
    expect(await catalog.list()).toHaveLength(1);
    expect(told).toMatchObject([{ human: expect.stringContaining('in memory only'), level: 'warn' }]);
  });
});

describe('a catalog that cannot be used', () => {
  it('does not keep the hive from starting, and comes back by itself', async () => {
    await fill();
    await rename(file, `${file}.away`);
    await mkdir(file);
    const { catalog, known } = await openAgain();
    await expect(catalog.list()).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
    expect(known()).toEqual([]);
    await rm(file, { recursive: true });
    await rename(`${file}.away`, file);
    await clock.advance(5000);
    expect(await catalog.list()).toHaveLength(2);
    expect([known().length, told, made]).toEqual([2, [], []]);
    expect(changes).toEqual([
      ['added', 'builtin:honeycomb'],
      ['added', 'hf:org/repo:Q4_K_M'],
    ]);
  });

  it('because a newer version of rbee has changed it keeps the hive from starting, and stays as it is', async () => {
    await fill();
    changeSchema("insert into kysely_migration values ('9999_later', '2030-01-01T00:00:00.000Z')");
    await expect(openAgain()).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE', retryable: false });
    expect(await readdir(folder)).not.toContain('models.db.corrupt.backup');
  });

  it('keeps what it knew for those who cannot wait', async () => {
    await fill();
    const { catalog, known } = await openAgain();
    const fault = Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR' });
    await expect(useDatabase(catalog, () => Promise.reject(fault))).rejects.toMatchObject({
      code: 'CATALOG_UNAVAILABLE',
    });
    await expect(catalog.list()).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
    expect(known()).toHaveLength(2);
    await clock.advance(5000);
    expect(await catalog.list()).toHaveLength(2);
    expect(changes).toEqual([]);
  });
});

it('survives that its process is killed in the middle of writing', async () => {
  await fill();
  const script = `
    const Database = require(${JSON.stringify(createRequire(import.meta.url).resolve('better-sqlite3'))});
    const db = new Database(${JSON.stringify(file)});
    db.pragma('journal_mode = WAL');
    const write = db.prepare("update models set last_used_unix = ?, memory_used = ? where provider = 'hf'");
    for (let use = 1; ; use++) {
      write.run(use, JSON.stringify({ use, pad: 'x'.repeat(use % 9000) }));
      if (use === 1) process.stdout.write('begun');
    }`;
  for (const delayMs of [1, 4, 9, 17, 40]) {
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await sleep(systemClock, delayMs);
    child.kill('SIGKILL');
    await once(child, 'close');
    const { catalog, close } = await openAgain();
    const [, model] = await catalog.list();
    expect(model).toMatchObject({ provider: 'hf', last_used_unix: expect.any(Number) });
    await close();
  }
  expect([told, made]).toEqual([[], []]);
});
