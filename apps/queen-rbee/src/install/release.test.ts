import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import { extract } from 'tar';
import { readRelease } from './release.js';
import { ReleaseArchives } from './release-archives.js';
import { makeSmallRoot } from './testing/small-release.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'release-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('readRelease', () => {
  it('takes what the hive and the worker need, and nothing else', async () => {
    const { paths } = await readRelease({ root: makeSmallRoot(join(folder, 'small')) });
    expect(paths).toEqual(
      [
        'apps/llm-worker/bin/llm-worker-rbee.js',
        'apps/llm-worker/dist/main.js',
        'apps/llm-worker/package.json',
        'apps/rbee-hive/bin/rbee-hive.js',
        'apps/rbee-hive/dist/main.js',
        'apps/rbee-hive/node_modules/left',
        'apps/rbee-hive/package.json',
        'models/bee.gguf',
        'node_modules/.pnpm/left@1/node_modules/left/LICENSE.md',
        'node_modules/.pnpm/left@1/node_modules/left/index.js',
        'node_modules/.pnpm/left@1/node_modules/left/lib/test/kept.js',
        'node_modules/.pnpm/left@1/node_modules/left/package.json',
        'node_modules/.pnpm/left@1/node_modules/right',
        'node_modules/.pnpm/right@1/node_modules/right/package.json',
        'package.json',
        'pnpm-lock.yaml',
        'pnpm-workspace.yaml',
      ].sort(),
    );
  });

  it('leaves the packages out for a node that installs them, and adds the manifests that the lock file knows', async () => {
    const base = makeSmallRoot(join(folder, 'other'));
    const { id, paths } = await readRelease({ root: base, installedFor: 'darwin' });
    expect(paths.filter((path) => path.includes('node_modules'))).toEqual([]);
    expect(paths).toEqual(expect.arrayContaining(['packages/kit/package.json', 'apps/queen-rbee/package.json']));
    expect((await readRelease({ root: base, installedFor: 'linux' })).id).not.toBe(id);
  });

  it('has an id that changes with the content alone', async () => {
    const [one, two] = [makeSmallRoot(join(folder, 'one')), makeSmallRoot(join(folder, 'two'))];
    const { id } = await readRelease({ root: one });
    expect(id).toMatch(/^\d+\.\d+\.\d+-[0-9a-f]{12}$/);
    expect((await readRelease({ root: two })).id).toBe(id);
    writeFileSync(join(two, 'apps/rbee-hive/dist/main.js'), 'changed');
    expect((await readRelease({ root: two })).id).not.toBe(id);
  });

  it('says which part is missing', async () => {
    const base = makeSmallRoot(join(folder, 'broken'));
    rmSync(join(base, 'node_modules/.pnpm/left@1/node_modules/right'));
    await expect(readRelease({ root: base })).rejects.toMatchObject({
      code: 'INSTALL_FAILED',
      message: expect.stringContaining('right, which node_modules/.pnpm/left@1/node_modules/left needs') as unknown,
    });
    rmSync(join(base, 'apps/rbee-hive/dist'), { recursive: true });
    await expect(readRelease({ root: base })).rejects.toMatchObject({
      details: { missing: 'apps/rbee-hive/dist/main.js' },
    });
  });
});

it('packs a release once for all who ask at the same time, for its owner alone', async () => {
  const release = await readRelease({ root: makeSmallRoot(join(folder, 'packed')) });
  const archives = new ReleaseArchives(join(folder, 'cache'), systemClock);
  const [archive, same] = await Promise.all([archives.get(release), archives.get(release)]);
  expect(same).toEqual(archive);
  expect(lstatSync(archive.path).mode & 0o777).toBe(0o600);
  const target = join(folder, 'unpacked');
  mkdirSync(target);
  await extract({ file: archive.path, cwd: target, strict: true });
  for (const path of release.paths) expect([path, existsSync(join(target, path))]).toEqual([path, true]);
});

it('keeps two archives', async () => {
  const cache = join(folder, 'bounded');
  const archives = new ReleaseArchives(cache, systemClock);
  const base = makeSmallRoot(join(folder, 'changing'));
  const ids: string[] = [];
  for (const content of ['a', 'b', 'c']) {
    writeFileSync(join(base, 'apps/rbee-hive/dist/main.js'), content);
    const release = await readRelease({ root: base });
    ids.push(release.id);
    await archives.get(release);
  }
  expect(readdirSync(cache).sort()).toEqual(
    ids
      .slice(1)
      .map((id) => `${id}.tar.gz`)
      .sort(),
  );
});
