import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, identify, processEnvironment, sleep, systemClock, waitUntilGone } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import Database from 'better-sqlite3';
import { READ_TYPESCRIPT } from '../../test/hive-program.js';
import type { HiveInstallation } from '../app.js';
import { CatalogDatabase } from '../catalog/catalog-database.js';
import { BUNDLED_MODELS_DIR } from '../installation.js';
import { checkNode } from './check-node.js';
import { runSelfTest } from './self-test.js';

const WORKER = fileURLToPath(new URL('../../../llm-worker/src/main.ts', import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-tested-'));
  mkdirSync(join(folder, 'tmp'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const catalogDb = () => join(folder, 'models.db');

/** A worker program that only writes a line, or runs on. */
function fakeWorker(text: string) {
  const path = join(folder, 'worker.mjs');
  writeFileSync(path, text);
  return { path };
}
const goodWorker = () => fakeWorker('process.stdout.write(\'{"ok":true,"message":"fine"}\\n\')');

async function test(parts: Partial<HiveInstallation & { clock: Clock }> = {}) {
  const { workerProgram = goodWorker(), bundledModelsDir = BUNDLED_MODELS_DIR, clock = systemClock } = parts;
  const environment = { ...processEnvironment(), clock, tmpdir: join(folder, 'tmp') };
  const installation = { workerProgram, bundledModelsDir };
  const { ok, checks } = await runSelfTest(environment, { installation, catalogDb: catalogDb() });
  expect(readdirSync(environment.tmpdir)).toEqual([]);
  return { ok, ...Object.fromEntries(checks.map((check) => [check.name, check])) };
}

describe('the self-test', () => {
  it('loads the real engine, opens SQLite and reads the bundled models', async () => {
    const workerProgram = { path: WORKER, nodeArguments: READ_TYPESCRIPT };
    expect(await test({ workerProgram })).toMatchObject({
      ok: true,
      node: { ok: true, message: `Node.js ${process.versions.node}` },
      sqlite: { ok: true, message: 'a new catalog can be made' },
      engine: { ok: true, message: expect.stringMatching(/^node-llama-cpp \d+\.\d+\.\d+ loads/) },
      models: { ok: true, message: '3 model files' },
    });
  });

  it('opens a copy of the catalog, also of one that is in use, and changes nothing of it', async () => {
    const database = new CatalogDatabase(catalogDb(), systemClock);
    const row = { id: 'm', provider: 'local' as const, reference: '/m.gguf', local_path: '/m.gguf', size_bytes: 1 };
    await database.use((db) =>
      db
        .insertInto('models')
        .values({ ...row, downloaded_at_unix: 1 })
        .execute(),
    );
    const before = readdirSync(folder);
    expect(await test()).toMatchObject({ ok: true, sqlite: { message: 'the catalog with its 1 models can be used' } });
    expect(readdirSync(folder).sort()).toEqual([...before, 'worker.mjs'].sort());
    await database.close();
  });

  it.each([
    ['a damaged catalog', () => writeFileSync(catalogDb(), 'this is no database at all'.repeat(100)), /SQLITE_NOTADB/],
    [
      'the catalog of a newer version',
      () => {
        const database = new Database(catalogDb());
        database.exec(
          "create table kysely_migration (name text primary key, timestamp text); insert into kysely_migration values ('9999_later', '')",
        );
        database.close();
      },
      /models catalog|model catalog/,
    ],
  ])('finds %s', async (_what, prepare, message) => {
    prepare();
    expect(await test()).toMatchObject({ ok: false, sqlite: { ok: false, message: expect.stringMatching(message) } });
  });

  it.each([
    [
      'a failure',
      'process.stdout.write(\'{"ok":false,"message":"no binary"}\\n\'); process.exitCode = 1',
      /^no binary$/,
    ],
    [
      'a crash',
      "process.stderr.write('bad CPU\\n'); process.kill(process.pid, 'SIGILL')",
      /ended with SIGILL: bad CPU$/,
    ],
    ['silence', '', /ended with exit code 0: no output$/],
    ['a success that ends badly', 'process.stdout.write(\'{"ok":true,"message":""}\\n\'); process.exitCode = 3', /^$/],
  ])('reports an engine that answers with %s', async (_what, text, message) => {
    expect(await test({ workerProgram: fakeWorker(text) })).toMatchObject({
      ok: false,
      engine: { ok: false, message: expect.stringMatching(message) },
    });
  });

  it('gives up an engine that does not load, with all its processes', async () => {
    const pidFile = join(folder, 'pid');
    const child = `import { spawn } from 'node:child_process'; import { writeFileSync } from 'node:fs';
      const { pid } = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      writeFileSync(${JSON.stringify(pidFile)}, String(pid));`;
    const clock = new ManualClock();
    const testing = test({ workerProgram: fakeWorker(child), clock });
    while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await sleep(systemClock, 5);
    const engineChild = identify(Number(readFileSync(pidFile, 'utf8')));
    await clock.advance(60_000);
    expect(await testing).toMatchObject({
      ok: false,
      engine: { ok: false, message: 'the engine was not loaded within 1 min' },
    });
    expect(engineChild && (await waitUntilGone(engineChild, systemClock, 5000))).toBe(true);
  });

  it('reports a worker program that is not there', async () => {
    const { engine } = (await test({ workerProgram: { path: join(folder, 'none.js') } })) as Record<string, unknown>;
    expect(engine).toMatchObject({ ok: false, message: expect.stringMatching(/ended with exit code 1/) });
  });

  it('reports bundled models that are missing or damaged', async () => {
    const bundledModelsDir = join(folder, 'models');
    expect(await test({ bundledModelsDir })).toMatchObject({
      models: { ok: false, message: expect.stringMatching(/no model file/) },
    });
    mkdirSync(bundledModelsDir);
    copyFileSync(join(BUNDLED_MODELS_DIR, 'honeycomb-q8_0.gguf'), join(bundledModelsDir, 'good.gguf'));
    writeFileSync(join(bundledModelsDir, 'bad.gguf'), 'GGUF');
    expect(await test({ bundledModelsDir })).toMatchObject({
      models: { ok: false, message: expect.stringMatching(/bad\.gguf/) },
    });
  });
});

it('says that there is no room for its files', async () => {
  const environment = { ...processEnvironment(), tmpdir: join(folder, 'nowhere') };
  const installation = { workerProgram: goodWorker(), bundledModelsDir: BUNDLED_MODELS_DIR };
  await expect(runSelfTest(environment, { installation, catalogDb: catalogDb() })).rejects.toMatchObject({
    code: 'INSTALL_FAILED',
    suggestion: expect.stringContaining('TMPDIR'),
  });
});

it('says that the disk is full, and leaves nothing there', async () => {
  const small = join(folder, 'small');
  mkdirSync(small);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'rbee-test', small]).status !== 0) {
    process.stderr.write('skipped: mounting is not allowed here\n');
    return;
  }
  try {
    const environment = { ...processEnvironment(), tmpdir: small };
    const installation = { workerProgram: goodWorker(), bundledModelsDir: BUNDLED_MODELS_DIR };
    await expect(runSelfTest(environment, { installation, catalogDb: catalogDb() })).rejects.toMatchObject({
      code: 'INSTALL_FAILED',
      message: `the self-test cannot use the temporary folder ${small}: the disk is full`,
    });
    expect(readdirSync(small)).toEqual([]);
  } finally {
    execFileSync('umount', [small]);
  }
});

it.each([
  ['20.19.0', true],
  ['24.1.0', true],
  ['20.18.3', false],
  ['18.20.4', false],
])('checkNode of %s', (version, fits) => {
  const check = () => checkNode(version);
  if (fits) expect(check()).toContain(version);
  else expect(check).toThrow(`Node.js ${version} is too old: rbee needs 20.19 or newer`);
});
