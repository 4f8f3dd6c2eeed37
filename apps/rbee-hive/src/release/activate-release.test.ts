import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { identify, type ProcessIdentity, systemClock } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import Database from 'better-sqlite3';
import { READ_TYPESCRIPT, runProgram } from '../../test/hive-program.js';
import { runCommand } from '../../test/run-command.js';
import { CatalogDatabase } from '../catalog/catalog-database.js';
import { HiveRecords } from '../hive-records.js';
import { BUNDLED_MODELS_DIR } from '../installation.js';
import { type Activation, activateRelease } from './activate-release.js';
import { ReleaseFolder } from './release-folder.js';

let root: string;
let clock: ManualClock;
beforeEach(() => {
  // A path that no shell and no pattern would take as it is.
  root = join(mkdtempSync(join(tmpdir(), 'rbee-release-')), `it's $(touch pwned) "here"`);
  mkdirSync(join(root, 'releases'), { recursive: true });
  clock = new ManualClock();
});
afterEach(() => rmSync(join(root, '..'), { recursive: true }));

const hives = () => new HiveRecords(join(root, 'run'));
const backups = () => readdirSync(join(root, 'backups'));
const listed = () => readdirSync(join(root, 'releases')).sort();

function makeRelease(id: string): string {
  const path = join(root, 'releases', id);
  mkdirSync(join(path, 'apps'), { recursive: true });
  writeFileSync(join(path, 'apps', 'program'), id);
  return path;
}

/** One that runs as long as this test. */
function anotherProcess(): ProcessIdentity {
  return identify(process.ppid) as ProcessIdentity;
}

/** Activates a release as its own program would. */
function activate(id: string, more: Partial<Activation> = {}) {
  return activateRelease({
    releases: new ReleaseFolder(root),
    id,
    ownInstallation: join(root, 'releases', id),
    selfTest: async () => ({ ok: true, checks: [] }),
    catalogDb: join(root, 'models.db'),
    backupsDir: join(root, 'backups'),
    hives: hives(),
    clock,
    ...more,
  });
}

describe('the activation of a release', () => {
  it('keeps the release before and removes older ones', async () => {
    for (const id of ['1.0-a', '1.1-b', '1.2-c']) makeRelease(id);
    expect(await activate('1.0-a')).toEqual({ activated: '1.0-a', previous: null });
    expect(listed()).toEqual(['1.0-a']);
    for (const id of ['1.1-b', '1.2-c']) makeRelease(id);
    rmSync(join(root, 'releases', '1.2-c'), { recursive: true });
    expect(await activate('1.1-b')).toEqual({ activated: '1.1-b', previous: '1.0-a' });
    makeRelease('1.2-c');
    expect(await activate('1.2-c')).toEqual({ activated: '1.2-c', previous: '1.1-b' });
    expect(listed()).toEqual(['1.1-b', '1.2-c']);
    expect(readlinkSync(join(root, 'current'))).toBe(join('releases', '1.2-c'));
    expect(existsSync(join(root, 'current', 'apps', 'program'))).toBe(true);
    expect(readdirSync(root).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('goes back to the release before', async () => {
    makeRelease('a');
    await activate('a');
    makeRelease('b');
    await activate('b');
    expect(await activate('a')).toEqual({ activated: 'a', previous: 'b' });
    expect(listed()).toEqual(['a', 'b']);
  });

  it('changes nothing for the release that is used already', async () => {
    makeRelease('a');
    await activate('a');
    makeRelease('b');
    await activate('b');
    expect(await activate('b')).toEqual({ activated: 'b', previous: 'b' });
    expect(listed()).toEqual(['a', 'b']);
  });

  it('leaves a release alone that a hive runs from', async () => {
    makeRelease('a');
    await activate('a');
    const end = hives().write({ ...anotherProcess(), installation: makeRelease('a') });
    // A hive that was killed keeps nothing.
    hives().write({ pid: 999_999, startTime: '1', installation: makeRelease('b') });
    writeFileSync(join(root, 'run', 'half.json'), '{"pid":');
    makeRelease('b');
    await activate('b');
    makeRelease('c');
    await activate('c');
    makeRelease('d');
    await activate('d');
    expect(listed()).toEqual(['a', 'c', 'd']);
    end();
    makeRelease('e');
    await activate('e');
    expect(listed()).toEqual(['d', 'e']);
  });

  it('of two at the same time leaves both, and uses one of them', async () => {
    makeRelease('old');
    await activate('old');
    for (const id of ['a', 'b']) makeRelease(id);
    const first = activate('a', {
      selfTest: async () => {
        // Each is a process of its own, and this one can be noted only once.
        const end = hives().write({ ...anotherProcess(), installation: makeRelease('a') });
        expect(await activate('b')).toEqual({ activated: 'b', previous: 'old' });
        end();
        return { ok: true, checks: [] };
      },
    });
    expect(await first).toEqual({ activated: 'a', previous: 'b' });
    expect(listed()).toEqual(['a', 'b']);
    expect(existsSync(join(root, 'current', 'apps', 'program'))).toBe(true);
  });

  it('keeps itself from being removed while it tests itself, and not longer', async () => {
    const path = makeRelease('a');
    const selfTest = async () => {
      expect(hives().running()).toEqual([{ ...identify(process.pid), installation: path }]);
      return { ok: true, checks: [] };
    };
    await activate('a', { selfTest });
    expect(hives().running()).toEqual([]);
  });

  it('holds also where an old release cannot be removed', async () => {
    class StuckFolder extends ReleaseFolder {
      override remove(): Promise<void> {
        return Promise.reject(Object.assign(new Error('EBUSY: device or resource busy'), { syscall: 'rmdir' }));
      }
    }
    for (const id of ['a', 'b', 'c']) makeRelease(id);
    await activate('a', { releases: new StuckFolder(root) });
    expect(await activate('c', { releases: new StuckFolder(root) })).toEqual({ activated: 'c', previous: 'a' });
    expect(listed()).toEqual(['a', 'b', 'c']);
    expect(readlinkSync(join(root, 'current'))).toBe(join('releases', 'c'));
  });

  it('removes what broken installations left, once it is a day old, and nothing else', async () => {
    makeRelease('a');
    const old = clock.now() / 1000 - 25 * 3600;
    for (const [name, time] of [
      ['.incoming-old', old],
      ['.incoming-new', clock.now() / 1000],
      ['.removed-old', old],
      ['.mine', old],
    ] as const) {
      mkdirSync(join(root, 'releases', name));
      utimesSync(join(root, 'releases', name), time, time);
    }
    await activate('a');
    expect(listed()).toEqual(['.incoming-new', '.mine', 'a']);
  });

  it('backs the catalog up, for its owner alone, and keeps the newest five', async () => {
    const database = new CatalogDatabase(join(root, 'models.db'), systemClock);
    const row = { id: 'm', provider: 'local' as const, reference: '/m.gguf', local_path: '/m.gguf', size_bytes: 1 };
    await database.use((db) =>
      db
        .insertInto('models')
        .values({ ...row, downloaded_at_unix: 1 })
        .execute(),
    );
    mkdirSync(join(root, 'backups'));
    writeFileSync(join(root, 'backups', 'mine.db'), '');
    // Left by one that was killed, and by one that is under way.
    writeFileSync(join(root, 'backups', 'models-20291231T220000000Z.db.new'), '');
    writeFileSync(join(root, 'backups', 'models-20300101T000000500Z.db.new-journal'), '');
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
      makeRelease(id);
      await activate(id);
      await clock.advance(1000);
    }
    await database.close();
    const [newest = '', ...others] = backups()
      .filter((name) => name !== 'mine.db' && !name.includes('.new'))
      .sort()
      .reverse();
    expect(newest).toBe('models-20300101T000006000Z.db');
    expect(others).toHaveLength(4);
    expect(backups()).toContain('mine.db');
    expect(backups().filter((name) => name.includes('.new'))).toEqual(['models-20300101T000000500Z.db.new-journal']);
    const path = join(root, 'backups', newest);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const copy = new Database(path, { readonly: true });
    expect(copy.prepare('select id from models').all()).toEqual([{ id: 'm' }]);
    copy.close();
  });
});

describe('an activation that is refused changes nothing', () => {
  beforeEach(async () => {
    makeRelease('old');
    await activate('old');
    makeRelease('new');
    writeFileSync(join(root, 'models.db'), '');
  });
  afterEach(() => {
    expect(readlinkSync(join(root, 'current'))).toBe(join('releases', 'old'));
    expect(listed()).toContain('old');
    expect(existsSync(join(root, 'backups'))).toBe(false);
    expect(readdirSync(root).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('because its self-test fails', async () => {
    const checks = [
      { name: 'sqlite' as const, ok: true, message: 'fine' },
      { name: 'engine' as const, ok: false, message: 'no binary' },
    ];
    await expect(activate('new', { selfTest: async () => ({ ok: false, checks }) })).rejects.toMatchObject({
      code: 'INSTALL_FAILED',
      message: 'the release new cannot run on this machine: engine: no binary',
      details: { step: 'self_test', checks },
    });
  });

  it('because another release runs', async () => {
    const failed = activate('new', { ownInstallation: join(root, 'releases', 'old') });
    await expect(failed).rejects.toMatchObject({
      code: 'INSTALL_FAILED',
      message: expect.stringMatching(/belongs to/),
    });
  });

  it('because it was removed during its self-test', async () => {
    const selfTest = async () => {
      rmSync(join(root, 'releases', 'new'), { recursive: true });
      return { ok: true, checks: [] };
    };
    await expect(activate('new', { selfTest })).rejects.toMatchObject({
      message: expect.stringMatching(/no such release/),
    });
  });

  it('because there is no such release', async () => {
    await expect(activate('none')).rejects.toMatchObject({ message: expect.stringMatching(/no such release/) });
  });

  it('because the release is a link to somewhere else', async () => {
    symlinkSync(join(root, 'releases', 'new'), join(root, 'releases', 'linked'));
    const failed = activate('linked', { ownInstallation: join(root, 'releases', 'new') });
    await expect(failed).rejects.toMatchObject({ code: 'INSTALL_FAILED' });
  });
});

it('a folder in the place of the link is not touched', async () => {
  makeRelease('a');
  mkdirSync(join(root, 'current'));
  await expect(activate('a')).rejects.toMatchObject({ message: expect.stringMatching(/current is in the way/) });
  expect(lstatSync(join(root, 'current')).isDirectory()).toBe(true);
});

describe('the commands', () => {
  it.each([
    ['activate', '--release', 'a'],
    ['activate', '--root', '/x'],
    ['activate', '--root', '/x', '--release', '../a'],
    ['activate', '--root', '/x', '--release', '.incoming-a'],
    ['activate', '--root', '/x', '--release', 'a b'],
    ['activate', '--root', '/x', '--release', 'a'.repeat(129)],
    ['activate', '--root', '/x\n', '--release', 'a'],
    ['list'],
  ])('refuse %s %s %s %s %s', async (...args) => {
    const words = args.filter((word) => word !== undefined);
    const { code, stdout, stderr } = await runCommand(['release', ...words]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/\n\nUsage: rbee-hive release /);
  });

  it('say in JSON why this program cannot be activated', async () => {
    makeRelease('a');
    const { code, stdout, stderr } = await runCommand(['release', 'activate', '--root', root, '--release', 'a']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'INSTALL_FAILED', details: { release: 'a' } },
      checks: [],
    });
    expect(stderr).toMatch(/belongs to/);
    expect(existsSync(join(root, 'current'))).toBe(false);
  });

  it('activate a real release with its real engine, list it, and name what a broken one lacks', async () => {
    const apps = fileURLToPath(new URL('../../../', import.meta.url));
    const install = (id: string, worker: string) => {
      const path = join(root, 'releases', id);
      cpSync(join(apps, 'rbee-hive', 'src'), join(path, 'apps', 'rbee-hive', 'src'), { recursive: true });
      symlinkSync(join(apps, 'rbee-hive', 'node_modules'), join(path, 'apps', 'rbee-hive', 'node_modules'));
      writeFileSync(join(path, 'apps', 'rbee-hive', 'package.json'), '{"type":"module"}');
      symlinkSync(BUNDLED_MODELS_DIR, join(path, 'models'));
      mkdirSync(join(path, 'apps', 'llm-worker', 'bin'), { recursive: true });
      writeFileSync(join(path, 'apps', 'llm-worker', 'package.json'), '{"type":"module"}');
      writeFileSync(join(path, 'apps', 'llm-worker', 'bin', 'llm-worker-rbee.js'), worker);
      return join(path, 'apps', 'rbee-hive', 'src', 'main.ts');
    };
    const release = (main: string, ...args: string[]) =>
      runProgram(['release', ...args, '--root', root], { home: join(root, '..'), main });

    const worker = `import ${JSON.stringify(READ_TYPESCRIPT[1])}; await import(${JSON.stringify(join(apps, 'llm-worker', 'src', 'main.ts'))});`;
    const good = install('1.0-good', worker);
    const first = await release(good, 'activate', '--release', '1.0-good');
    expect([first.stderr, first.code]).toEqual(['', 0]);
    expect(JSON.parse(first.stdout)).toEqual({ activated: '1.0-good', previous: null });

    const broken = install('1.1-broken', "process.stderr.write('cannot load\\n'); process.exitCode = 1;");
    const second = await release(broken, 'activate', '--release', '1.1-broken');
    expect(second.code).toBe(1);
    const { error, checks } = JSON.parse(second.stdout) as { error: object; checks: object[] };
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', message: expect.stringMatching(/engine: .*cannot load/) });
    expect(checks).toContainEqual(expect.objectContaining({ name: 'engine', ok: false }));

    const { stdout } = await release(good, 'list');
    expect(JSON.parse(stdout)).toEqual({ releases: ['1.0-good', '1.1-broken'], current: '1.0-good' });
    expect(existsSync(join(root, '..', 'pwned'))).toBe(false);
    // It starts five programs whose sources are read anew.
  }, 60_000);
});
