import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, type Spoken, silentLogger, systemClock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';
import type { NodeRecord } from '../registry/node-record.js';
import { makeNodeRecord } from '../registry/testing/make-node-record.js';
import { SshSession } from '../ssh/ssh-session.js';
import { findFreePort, type SshServer, startSshServer } from '../ssh/testing/ssh-server.js';
import { failureOf } from '../testing/failure-of.js';
import { Installer, type InstallerOptions } from './installer.js';
import { thisPlatform } from './platform.js';
import { readRelease } from './release.js';
import { makeSmallRoot, writeFiles } from './testing/small-release.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url)).replace(/\/$/, '');
const RUN_MS = 20_000;

let folder: string;
let home: string;
let server: SshServer;
let session: SshSession;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'install-node-'));
  home = join(folder, 'home of the node');
  const { storeDir } = JSON.parse(readFileSync(join(root, 'node_modules/.modules.yaml'), 'utf8')) as {
    storeDir: string;
  };
  server = await startSshServer({
    home,
    setEnv: {
      PATH: process.env.PATH ?? '',
      // Packages come from where this checkout has them, without the network.
      npm_config_cache: npmSetting('cache'),
      npm_config_nodedir: npmSetting('nodedir'),
      pnpm_config_store_dir: storeDir.replace(/\/v\d+$/, ''),
    },
  });
  session = connect();
});
afterAll(async () => {
  await session.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

function npmSetting(name: string): string {
  const value = execFileSync('npm', ['config', 'get', name], { encoding: 'utf8' }).trim();
  return value === 'undefined' ? '' : value;
}

function connect(): SshSession {
  const { host, port, user, keyPath } = server;
  return new SshSession({
    node: 'workstation',
    address: { host, port, user, keyPath },
    hostKeys: () => ({}),
    clock: systemClock,
    log: silentLogger,
    timeouts: DEFAULT_TIMEOUTS,
    variables: {},
    home: folder,
    user,
  });
}

const record = (more: Partial<NodeRecord> = {}) =>
  makeNodeRecord({ installPath: join(home, 'rbee'), nodePath: process.execPath, ...more });

const said: Spoken[] = [];

interface How {
  readonly node?: Partial<NodeRecord>;
  readonly on?: Machine;
  readonly from?: string;
  readonly options?: Partial<InstallerOptions>;
  readonly progress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

function install(how: How = {}) {
  const { node, on = session, from = root, options, progress, signal = new AbortController().signal } = how;
  const stateFolder = join(folder, 'state');
  const installer = new Installer({
    clock: systemClock,
    timeouts: DEFAULT_TIMEOUTS,
    root: from,
    stateFolder,
    ...options,
  });
  said.length = 0;
  return installer.install(record(node), on, {
    service: false,
    narrate: (spoken) => said.push(spoken),
    progress: ({ bytes_done }) => progress?.(bytes_done),
    signal,
  });
}

function sh(script: string, ...args: string[]) {
  return session.run(script, args, { timeoutMs: RUN_MS });
}

function releasesAt(installPath: string): string[] {
  return readdirSync(join(installPath, 'releases')).sort();
}

/** Starts the installed hive on the node, asks its health, and ends it. */
async function healthOfHive(installPath: string): Promise<unknown> {
  const launcher = join(installPath, 'current/apps/rbee-hive/bin/rbee-hive.js');
  const port = await findFreePort();
  const started = await sh('"$1" "$2" daemon --detach --owned --port "$3"', process.execPath, launcher, String(port));
  expect(started.stderr).toBe('');
  const { pid, start_time } = JSON.parse(started.stdout) as { pid: number; start_time: string };
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        return await (await fetch(`http://127.0.0.1:${port}/v1/health`)).json();
      } catch (error) {
        if (attempt === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  } finally {
    const stop = '"$1" "$2" stop --pid "$3" --start-time "$4"';
    const stopped = await sh(stop, process.execPath, launcher, String(pid), start_time);
    expect(JSON.parse(stopped.stdout)).toMatchObject({ ended: true, was_running: true });
  }
}

describe('a real release over SSH', () => {
  it('works on the node, and is left alone the second time', async () => {
    const progress: number[] = [];
    const { release, unchanged } = await install({ progress: (bytes) => progress.push(bytes) });
    expect(unchanged).toBe(false);
    expect(progress.length).toBeGreaterThan(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(readlinkSync(join(home, 'rbee/current'))).toBe(`releases/${release}`);
    expect(await healthOfHive(join(home, 'rbee'))).toMatchObject({ status: 'alive' });
    expect(statSync(join(folder, 'state/cache', `${release}.tar.gz`)).size).toBeLessThan(70e6);
    const installed = join(home, 'rbee/releases', release);
    for (const path of (await readRelease({ root })).paths) {
      expect([path, existsSync(join(installed, path))]).toEqual([path, true]);
    }
    // An installed release is itself one that can be sent on.
    expect((await readRelease({ root: installed })).id).toBe(release);
    const again = await install();
    expect(again).toEqual({ release, unchanged: true, nodePath: process.execPath });
    expect(said.at(-1)?.human).toBe(`workstation already uses release ${release}`);
    expect(readdirSync(join(home, 'rbee')).sort()).toEqual(['current', 'releases']);
  }, 60_000);

  it('gets its packages from the node where the queen has none for it', async () => {
    const installPath = join(home, 'installed by itself');
    const options = { platform: { ...thisPlatform(), abi: '1' } };
    const { release } = await install({ node: { installPath }, options });
    expect(releasesAt(installPath)).toEqual([release]);
    expect(await healthOfHive(installPath)).toMatchObject({ status: 'alive' });
  }, 60_000);
});

describe('a repository', () => {
  let repository: string;

  const git = (...args: string[]) =>
    execFileSync(
      'git',
      ['--git-dir', repository, '-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    ).trim();
  const commitAll = (tree: string, branch: string) => {
    git('--work-tree', tree, 'add', '--all');
    git('update-ref', `refs/heads/${branch}`, git('commit-tree', '-m', 'Test', git('write-tree')));
    return git('rev-parse', branch).slice(0, 12);
  };

  beforeAll(() => {
    repository = join(folder, 'repository');
    execFileSync('git', ['init', '--quiet', '--bare', repository]);
  });

  it('is built on the node', async () => {
    const installPath = join(home, 'built');
    const commit = commitAll(root, 'release/1.0');
    const node = { installPath, gitRepoUrl: `file://${repository}`, gitBranch: 'release/1.0' };
    expect(await install({ node })).toMatchObject({ release: `git-${commit}`, unchanged: false });
    expect([...new Set(said.map(({ action }) => action))]).toEqual(['install_clone', 'install_build', 'install_done']);
    expect(await healthOfHive(installPath)).toMatchObject({ status: 'alive' });
    expect(await install({ node })).toMatchObject({ release: `git-${commit}`, unchanged: true });
    expect(releasesAt(installPath)).toEqual([`git-${commit}`]);

    // A git that was killed leaves a lock; and what was there stays when a project cannot be built.
    writeFiles(join(installPath, 'source/.git'), { 'shallow.lock': '', 'refs/rbee/broken.lock': '' });
    const broken = join(folder, 'broken');
    writeFiles(broken, {
      'package.json': '{"packageManager":"pnpm@12.21.0"}',
      'pnpm-lock.yaml': 'nonsense: [',
      'apps/rbee-hive/package.json': '{}',
      'scripts/build.mjs': '',
    });
    commitAll(broken, 'broken');
    const error = await failureOf(install({ node: { ...node, gitBranch: 'broken' } }));
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', details: { step: 'packages' } });
    expect(error.message).toMatch(/ERR_PNPM_BROKEN_LOCKFILE|lockfile/);
    expect(releasesAt(installPath)).toEqual([`git-${commit}`]);
    expect(readdirSync(installPath).sort()).toEqual(['current', 'releases', 'source']);
  }, 80_000);

  it('of something else is refused before anything of it runs', async () => {
    const installPath = join(home, 'something else');
    const other = join(folder, 'other');
    writeFiles(other, { 'package.json': '{"name":"other","scripts":{"preinstall":"touch pwned"}}' });
    commitAll(other, 'other');
    const node = { installPath, gitRepoUrl: `file://${repository}`, gitBranch: 'other' };
    expect(await failureOf(install({ node }))).toMatchObject({
      code: 'INSTALL_FAILED',
      message: expect.stringContaining('not one of rbee'),
      details: { step: 'checkout' },
      suggestion: expect.stringContaining('setup update-node --name workstation --git-repo'),
    });
    expect(existsSync(installPath)).toBe(false);
  });

  it('that cannot be fetched is told in the words of git', async () => {
    const installPath = join(home, 'not fetched');
    const missing = await failureOf(
      install({ node: { installPath, gitRepoUrl: `file://${repository}`, gitBranch: 'nope' } }),
    );
    expect(missing.message).toBe(
      "installing rbee on workstation failed (clone): fatal: couldn't find remote ref refs/heads/nope",
    );
    const command = await failureOf(install({ node: { installPath, gitRepoUrl: 'ext::touch pwned' } }));
    expect(command.message).toContain("transport 'ext' not allowed");
    const dash = await failureOf(install({ node: { installPath, gitRepoUrl: '--upload-pack=touch pwned' } }));
    expect(dash.details).toMatchObject({ step: 'clone' });
    expect(spawnSync('find', [folder, '-name', 'pwned'], { encoding: 'utf8' }).stdout).toBe('');
    expect(existsSync(installPath)).toBe(false);
  });
});

describe('a node that goes away', () => {
  it.each([
    [
      'alone',
      () => {
        for (const pid of server.sessions()) process.kill(pid, 'SIGKILL');
      },
    ],
    ['with all that ran there', () => server.dropConnections()],
  ])(
    'while it gets the release is cleaned up: the connection %s',
    async (name, breakOff) => {
      const installPath = join(home, `lost ${name}`);
      const from = makeSmallRoot(join(folder, `large ${name}`), { 'models/large.gguf': randomBytes(20e6) });
      const own = connect();
      let dropped = false;
      try {
        const error = await failureOf(
          install({
            from,
            node: { installPath },
            on: own,
            progress: (bytes) => {
              if (bytes === 0 || dropped) return;
              dropped = true;
              breakOff();
            },
          }),
        );
        expect(dropped).toBe(true);
        expect(error.code).toBe('SSH_CONNECTION_TIMEOUT');
        for (let attempt = 0; existsSync(installPath) && attempt < 60; attempt++) {
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        expect(existsSync(installPath)).toBe(false);
      } finally {
        await own.close();
      }
    },
    30_000,
  );

  it('for good while it works ends what it started', async () => {
    const installPath = join(home, 'abandoned');
    const from = makeSmallRoot(join(folder, 'slow'), { 'models/slow.gguf': '' });
    const own = connect();
    const on: Machine = {
      run: (script, args, options) => {
        if (script.includes('release activate')) setTimeout(() => void own.close(), 500);
        return own.run(script, args, options);
      },
      upload: (source, target, options) => own.upload(source, target, options),
      openSocket: (address) => own.openSocket(address),
    };
    await failureOf(install({ from, node: { installPath }, on }));
    for (let attempt = 0; existsSync(installPath) && attempt < 80; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(existsSync(installPath)).toBe(false);
    expect(spawnSync('pgrep', ['-f', installPath], { encoding: 'utf8' }).stdout).toBe('');
  }, 30_000);

  it('is free again at once when an installation is cancelled', async () => {
    const installPath = join(home, 'cancelled');
    const from = makeSmallRoot(join(folder, 'slow too'), { 'models/slow.gguf': '' });
    const cancel = new AbortController();
    const reason = new RbeeError('CANCELLED', 'no more');
    const on: Machine = {
      run: (script, args, options) => {
        if (script.includes('release activate')) setTimeout(() => cancel.abort(reason), 300);
        return session.run(script, args, options);
      },
      upload: (source, target, options) => session.upload(source, target, options),
      openSocket: (address) => session.openSocket(address),
    };
    await expect(install({ from, node: { installPath }, on, signal: cancel.signal })).rejects.toBe(reason);
    expect(existsSync(installPath)).toBe(false);
    expect(spawnSync('pgrep', ['-f', installPath], { encoding: 'utf8' }).stdout).toBe('');
  }, 30_000);
});

it('says that the disk is full when an upload does not fit', async () => {
  const small = join(home, 'small');
  mkdirSync(small);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'rbee-test', small]).status !== 0) {
    process.stderr.write('skipped: mounting is not allowed here\n');
    return;
  }
  try {
    const from = makeSmallRoot(join(folder, 'random'), { 'models/big.gguf': randomBytes(30e6) });
    const on: Machine = {
      run: async (script, args, options) => {
        const result = await session.run(script, args, options);
        // As if the space had been there beforehand.
        const isFirst = !existsSync(join(small, 'tried'));
        return isFirst
          ? { ...result, stdout: result.stdout.replace(/^(disk\t.*?\s\d+\s+\d+\s+)\d+/m, '$199000000') }
          : result;
      },
      upload: (source, target, options) => {
        mkdirSync(join(small, 'tried'));
        return session.upload(source, target, options);
      },
      openSocket: (address) => session.openSocket(address),
    };
    const error = await failureOf(install({ from, node: { installPath: join(small, 'rbee') }, on }));
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', details: { step: 'upload', required_mb: 31 } });
    expect(error.message).toContain('the disk of the node is full');
    expect(readdirSync(small)).toEqual(['tried']);
  } finally {
    execFileSync('umount', [small]);
  }
}, 30_000);
